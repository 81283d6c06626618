"""Bytes of an agent that are no UTF-8 become U+FFFD, and the answer goes on, for every kind of agent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

from tests.agents.test_surrogates import CHAT, KINDS, speech_of
from voicegw.agents.client.error_body import error_from_body
from voicegw.agents.client.websocket import open_websocket
from voicegw.agents.openai.decoder import ChatChunkDecoder, decode_completion
from voicegw.agents.openhands.requests import parse_llm_settings
from voicegw.wire.sse import SseParser

PIECES = (b"We are open ", b"until \xf0\x9f six. ", b"Come in\xff.")
SPEECH = "We are open until \ufffd six. Come in\ufffd."


@pytest.mark.parametrize("kind", KINDS)
async def test_invalid_bytes_in_a_delta_become_replacement_characters(kind: str) -> None:
    assert await speech_of(KINDS[kind](PIECES, b"".join(PIECES)), None) == SPEECH


def test_character_that_two_reads_share_is_whole_wherever_it_is_cut() -> None:
    text = "Gr\xfc\xdfe \U0001f600 \u4f60"
    stream = b"data: " + CHAT % text.encode() + b"\n\n"
    for cut in range(len(stream)):
        parser, decoder = SseParser(), ChatChunkDecoder()
        events = [*parser.feed(stream[:cut]), *parser.feed(stream[cut:])]
        assert [delta for event in events for delta in decoder.feed(event)] == [text]


def test_invalid_bytes_in_whole_answers_become_replacement_characters() -> None:
    answer = b'{"choices":[{"message":{"role":"assistant","content":"a\xffb"},"finish_reason":"stop"}]}'
    assert "a\ufffdb" in decode_completion(answer)
    assert error_from_body(b'{"error":{"message":"no \xff"}}').quote == "no \ufffd"
    assert parse_llm_settings(b'{"config":{"model":"\xff"}}', "x")["model"] == "\ufffd"


@pytest.mark.wire
async def test_text_frame_of_an_agent_may_hold_invalid_bytes() -> None:
    async def send_frame(connection: ServerConnection) -> None:
        await connection.send(b'{"content":"a\xf0\x9fb"}', text=True)
        await connection.wait_closed()

    received: Mapping[str, Any] = {}
    async with serve(send_frame, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        websocket = await open_websocket(f"ws://127.0.0.1:{port}", {})
        received = await websocket.receive()
        await websocket.close()
    assert received == {"content": "a\ufffdb"}
