"""A character that an agent cuts into two surrogates is one character again, for every kind of agent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from typing import Any

import pytest

from tests.agents.bedrock.frames import event_with_payload
from tests.support.fake_agent import FakeAgent, fake_agent
from voicegw.agents.anthropic.decoder import MessagesDecoder
from voicegw.agents.bedrock.decoder import ConverseDecoder
from voicegw.agents.bedrock.eventstream import EventStreamParser
from voicegw.agents.docker.protocol import DockerEventDecoder
from voicegw.agents.hermes.protocol import HermesChatDecoder, HermesRunDecoder
from voicegw.agents.openai.decoder import ChatChunkDecoder
from voicegw.agents.openhands.decoder import OpenHandsTurnDecoder
from voicegw.agents.python.agent import PythonAgent
from voicegw.agents.tool_calls import ToolCallGatherer
from voicegw.agents.zeroclaw.protocol import ZeroClawTurnDecoder
from voicegw.events import Message, Turn
from voicegw.speech.filter import SpeechFilter
from voicegw.turns.run import Run
from voicegw.wire.json import loads_piece
from voicegw.wire.sse import ServerSentEvent

Pieces = Sequence[bytes]
"""Deltas of a text, as JSON has them between quotation marks."""
NAME = "Mr \U00020bb7 Li"
HALVES = (rb"Mr \ud842", rb"\udfb7 Li")
TURN = Turn("t1", (Message("user", "Who?"),))


def sse(template: bytes, decoder: Any, pieces: Pieces) -> list[Any]:
    return [event for piece in pieces for event in decoder.feed(ServerSentEvent("", template % piece))]


def frames(decoder: Any, *values: bytes) -> list[Any]:
    return [event for value in values for event in decoder.feed(loads_piece(value))]


def bedrock(pieces: Pieces) -> list[Any]:
    parser, decoder = EventStreamParser(), ConverseDecoder("t1")
    payloads = (b'{"contentBlockIndex":0,"delta":{"text":"%b"}}' % piece for piece in pieces)
    data = b"".join(event_with_payload("contentBlockDelta", payload) for payload in payloads)
    return [event for message in parser.feed(data) for event in decoder.feed(message)]


def hermes_run(pieces: Pieces, whole: bytes) -> list[Any]:
    decoder = HermesRunDecoder()
    events = sse(b'{"event":"message.delta","delta":"%b"}', decoder, pieces)
    end = b'{"event":"run.completed","output":"%b"}' % whole
    return events + decoder.feed(ServerSentEvent("", end))


def openhands(pieces: Pieces, whole: bytes) -> list[Any]:
    delta = b'{"type":"delta","item_id":"i","attempt":1,"order":%d,"content":"%b"}'
    message = b'{"content":[{"type":"text","text":"%b"}]}' % whole
    event = b'{"kind":"MessageEvent","source":"agent","id":"i","llm_message":%b}' % message
    return frames(
        OpenHandsTurnDecoder(None),
        b'{"type":"item_started","item_id":"i","attempt":1}',
        *(delta % (order, piece) for order, piece in enumerate(pieces)),
        b'{"type":"durable","seq":9,"event":%b}' % event,
    )


def zeroclaw(pieces: Pieces, whole: bytes) -> list[Any]:
    return frames(
        ZeroClawTurnDecoder("http://z"),
        *(b'{"type":"chunk","content":"%b"}' % piece for piece in pieces),
        b'{"type":"done","full_response":"%b"}' % whole,
    )


ANTHROPIC = b'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"%b"}}'
DOCKER = b'{"type":"agent_choice","content":"%b"}'
CHAT = b'{"choices":[{"delta":{"content":"%b"}}]}'
KINDS: dict[str, Callable[[Pieces, bytes], list[Any]]] = {
    "openai": lambda pieces, whole: sse(CHAT, ChatChunkDecoder(), pieces),
    "hermes_chat": lambda pieces, whole: sse(CHAT, HermesChatDecoder(), pieces),
    "hermes": hermes_run,
    "anthropic": lambda pieces, whole: sse(ANTHROPIC, MessagesDecoder("t1"), pieces),
    "bedrock": lambda pieces, whole: bedrock(pieces),
    "docker": lambda pieces, whole: sse(DOCKER, DockerEventDecoder("s", "http://d"), pieces),
    "openhands": openhands,
    "zeroclaw": zeroclaw,
}
"""The kinds of agents that decode bytes: their events for the deltas and the whole text."""


async def speech_of(events: Iterable[Any], speech_filter: SpeechFilter | None) -> str:
    agent: FakeAgent = fake_agent(*events)
    run = Run(agent, TURN, lambda run: None, now=asyncio.get_running_loop().time, speech_filter=speech_filter)
    run.start()
    await asyncio.sleep(9)
    assert run.event_log.failure is None
    return "".join(event for event in run.event_log.events if isinstance(event, str))


@pytest.mark.parametrize("is_filtered", [False, True])
@pytest.mark.parametrize("kind", KINDS)
async def test_character_in_two_deltas_is_joined(kind: str, is_filtered: bool) -> None:
    assert (
        await speech_of(KINDS[kind](HALVES, NAME.encode()), SpeechFilter() if is_filtered else None) == NAME
    )


async def test_character_in_two_deltas_of_python_code_is_joined() -> None:
    async def reply(turn: Turn) -> AsyncGenerator[str, None]:
        yield "Mr \ud842"
        yield "\udfb7 Li"

    events = [event async for event in PythonAgent("m:reply", reply).reply(TURN)]
    assert await speech_of(events, None) == NAME


def test_character_in_two_pieces_of_arguments_is_joined() -> None:
    calls = ToolCallGatherer()
    calls.add(0, 0, "c1", "greet", '{"name":"Mr \ud842')
    calls.add(0, 0, "", "", '\udfb7 Li"}')
    assert [call.arguments for call in calls.end()] == [f'{{"name":"{NAME}"}}']
