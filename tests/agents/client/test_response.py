"""The body of a response: its kind, its size, and the time that its rest gets."""

from __future__ import annotations

import asyncio

import pytest

from tests.agents.client.test_connection import read_piece
from tests.agents.upstream import Action, Upstream, chunk, chunked_head, http_response
from voicegw.agents.client.http import HttpClient
from voicegw.agents.client.response import END_TIMEOUTS
from voicegw.agents.finish_reasons import AnswerState
from voicegw.errors import AgentProtocolError

pytestmark = pytest.mark.wire


@pytest.mark.parametrize(
    ("headers", "body", "is_stream"),
    [
        (("content-type: text/event-stream; charset=utf-8",), b"data: 1\n\n", True),
        (("content-type: application/json",), b"data: 1\n\n", True),
        (("content-type: text/event-stream",), b'{"error":"full"}', False),
        (("content-type: text/event-stream",), b"<html>", False),
        ((), b": hi\n\n", True),
        ((), b"", False),
        ((), b"{}", False),
        (("content-type: text/html",), b"<html>", False),
    ],
)
async def test_kind_of_a_body_is_known_before_it_is_read(
    headers: tuple[str, ...], body: bytes, is_stream: bool
) -> None:
    async with Upstream((http_response(body, *headers),)) as upstream:
        client = HttpClient(upstream.url)
        async with client.post("/", {}, b"") as response:
            assert await response.is_event_stream() is is_stream
            assert await response.read(100) == body
        await client.aclose()


async def test_body_beyond_the_limit_raises_a_protocol_error() -> None:
    async with Upstream((http_response(b"abc"),)) as upstream:
        client = HttpClient(upstream.url)
        with pytest.raises(AgentProtocolError, match="a body of more than 2 bytes"):
            async with client.post("/", {}, b"") as response:
                await response.read(2)
        await client.aclose()


async def test_rest_of_an_answer_ends_in_the_time_of_its_state(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(END_TIMEOUTS, AnswerState.ENDED, 0.05)
    monkeypatch.setitem(END_TIMEOUTS, AnswerState.MAYBE_ENDED, 0.4)
    async with Upstream((chunked_head(), chunk(b"a"), 0.2, chunk(b"b"), Action.HANG)) as upstream:
        client = HttpClient(upstream.url)
        async with client.post("/", {}, b"") as response, asyncio.timeout(2):
            assert await read_piece(response) == b"a"
            response.expect_end(AnswerState.MAYBE_ENDED, restart=True)
            response.expect_end(AnswerState.ENDED, restart=False)
            response.expect_end(AnswerState.OPEN, restart=False)
            response.expect_end(AnswerState.MAYBE_ENDED, restart=True)
            assert await read_piece(response) == b"b"
            response.expect_end(AnswerState.ENDED, restart=False)
            started = asyncio.get_running_loop().time()
            response.expect_end(AnswerState.MAYBE_ENDED, restart=False)
            assert await read_piece(response) == b""
            assert asyncio.get_running_loop().time() - started < 0.3
        await client.aclose()
