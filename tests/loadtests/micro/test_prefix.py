"""The model that charges for unread beginnings: it charges once, and not for what was broken off."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import orjson
import pytest

from loadtests.micro.prefix import PrefixModel, prompt_prefix
from tests.agents.upstream import until

pytestmark = pytest.mark.wire

BODY = {"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]}


@asynccontextmanager
async def asking(model: PrefixModel) -> AsyncIterator[asyncio.StreamReader]:
    """The answer to one request; leaving hangs up."""
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


async def test_a_beginning_is_read_once_and_answered_with_a_word() -> None:
    model = PrefixModel(0.0)
    async with asking(model) as reader:
        assert b'"content":"Hello."' in await reader.read()
    assert (model.known_prefixes, model.request_count) == ({prompt_prefix(BODY)}, 1)


async def test_what_was_broken_off_was_not_read() -> None:
    model = PrefixModel(60.0)
    async with asking(model):
        await until(lambda: model.request_count)
    assert model.known_prefixes == set()


def test_only_instructions_and_tools_are_the_beginning() -> None:
    tools = BODY | {"tools": [{"type": "function"}]}
    assert prompt_prefix(BODY) == b'[null,[{"role":"system","content":"Be brief."}]]'
    assert prompt_prefix(tools) != prompt_prefix(BODY)
