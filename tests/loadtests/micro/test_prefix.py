"""The model with a prompt cache charges once for a prefix, and not for an unfinished one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import orjson
import pytest

from loadtests.micro.prefix import PrefixModel, prompt_prefix
from tests.agents.upstream import wait_until

pytestmark = pytest.mark.wire

BODY = {"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]}


@asynccontextmanager
async def send_request(model: PrefixModel) -> AsyncIterator[asyncio.StreamReader]:
    """Send one request and yield the reader of its answer; hang up at the end."""
    server = await asyncio.start_server(model.answer, "127.0.0.1", 0)
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        data = orjson.dumps(BODY)
        writer.write(b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n%b" % (len(data), data))
        try:
            yield reader
        finally:
            writer.close()
            await writer.wait_closed()


async def test_a_prefix_is_read_once_and_answered_with_a_word() -> None:
    model = PrefixModel(0.0)
    async with send_request(model) as reader:
        assert b'"content":"Hello."' in await reader.read()
    assert (model.known_prefixes, model.request_count) == ({prompt_prefix(BODY)}, 1)


async def test_an_unfinished_prefix_is_not_known() -> None:
    model = PrefixModel(60.0)
    async with send_request(model):
        await wait_until(lambda: model.request_count)
    assert model.known_prefixes == set()


def test_the_prefix_is_instructions_and_tools() -> None:
    tools = BODY | {"tools": [{"type": "function"}]}
    assert prompt_prefix(BODY) == b'[null,[{"role":"system","content":"Be brief."}]]'
    assert prompt_prefix(tools) != prompt_prefix(BODY)
