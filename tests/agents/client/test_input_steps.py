"""A server that floods its connection is parsed in steps, between which everything else runs."""

from __future__ import annotations

import asyncio

import pytest

from tests.asgi.test_http_protocol import FakeTransport
from voicegw.agents.client.input_steps import InputSteps


class Parser:
    """Records the pieces that it gets."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.may_read = True
        self.transport = FakeTransport()
        self.steps = InputSteps(self.pieces.append, lambda: self.may_read, 4)

    def feed(self, data: bytes) -> None:
        self.steps.feed(self.transport, data)


async def test_few_bytes_are_parsed_at_once() -> None:
    parser = Parser()
    parser.feed(b"abcd")
    assert (parser.pieces, parser.transport.reading_enabled) == ([b"abcd"], True)


async def test_many_bytes_take_one_turn_of_the_loop_for_each_step() -> None:
    parser = Parser()
    parser.feed(b"abcdefghij")
    assert (parser.pieces, parser.transport.reading_enabled) == ([b"abcd"], False)
    parser.feed(b"kl")
    for expected in (b"efgh", b"ijkl"):
        await asyncio.sleep(0)
        assert parser.pieces[-1] == expected
    assert (parser.steps.waiting, parser.transport.reading_enabled) == (b"", True)


@pytest.mark.parametrize("is_closing", [True, False])
async def test_reading_stays_paused_if_the_reader_is_slow_or_the_connection_closes(is_closing: bool) -> None:
    parser = Parser()
    parser.feed(b"abcdefgh")
    if is_closing:
        parser.transport.close()
    else:
        parser.may_read = False
    await asyncio.sleep(0)
    assert (len(parser.pieces), parser.transport.reading_enabled) == (2, False)


async def test_the_rest_is_parsed_when_the_connection_is_closed() -> None:
    parser = Parser()
    parser.feed(b"abcdefghij")
    for _ in range(2):
        parser.steps.finish()
    await asyncio.sleep(0)
    assert parser.pieces == [b"abcd", b"efghij"]
