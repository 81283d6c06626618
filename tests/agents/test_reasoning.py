"""Deltas that the caller does not hear are signs of work, for every kind of agent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
import pytest

from tests.agents.bedrock.frames import block_delta, block_stop, tool_use
from voicegw.agents.anthropic.decoder import MessagesDecoder
from voicegw.agents.bedrock.decoder import ConverseDecoder
from voicegw.agents.bedrock.eventstream import EventStreamParser
from voicegw.agents.docker.protocol import DockerEventDecoder
from voicegw.agents.hermes.protocol import HermesChatDecoder, HermesRunDecoder
from voicegw.agents.openai.decoder import ChatChunkDecoder
from voicegw.agents.openhands.decoder import OpenHandsTurnDecoder, from_legacy_event
from voicegw.agents.zeroclaw.protocol import ZeroClawTurnDecoder
from voicegw.events import REASONING, Activity, Event
from voicegw.wire.sse import ServerSentEvent, SseParser


def chat(**delta: Any) -> bytes:
    return orjson.dumps({"choices": [{"delta": delta, "finish_reason": None}]})


def feed(decoder: Any, *data: bytes, name: str = "") -> list[Event]:
    return [found for one in data for found in decoder.feed(ServerSentEvent(name, one))]


@pytest.mark.parametrize(
    "delta",
    [
        *({field: "Hm."} for field in ("reasoning_content", "reasoning", "reasoning_text", "thinking")),
        {"reasoning_details": [{"type": "reasoning.encrypted", "data": "x"}]},
        {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}]},
        {"content": [{"type": "reasoning", "text": "Hm."}]},
        {"content": "", "tool_calls": [{"index": 0, "function": {"arguments": "{"}}]},
    ],
)
@pytest.mark.parametrize("decoder", [ChatChunkDecoder, HermesChatDecoder])
def test_chat_reasons(decoder: Callable[[], Any], delta: dict[str, Any]) -> None:
    assert feed(decoder(), chat(**delta)) == [REASONING]


@pytest.mark.parametrize(
    "delta", [{}, {"content": ""}, {"role": "assistant"}, {"reasoning_content": None}, {"reasoning": ""}]
)
def test_empty_delta_is_no_sign_of_work(delta: dict[str, Any]) -> None:
    assert feed(ChatChunkDecoder(), chat(**delta)) == []


def test_comments_are_no_sign_of_work() -> None:
    assert SseParser().feed(b": OPENROUTER PROCESSING\n\n: ping\n\n") == []


def messages_event(kind: str, **more: Any) -> bytes:
    return orjson.dumps({"type": kind, "index": 0, **more})


@pytest.mark.parametrize(
    ("block", "first", "delta"),
    [
        ({"type": "thinking"}, REASONING, {"type": "thinking_delta", "thinking": "Hm."}),
        ({"type": "thinking"}, REASONING, {"type": "signature_delta", "signature": "x"}),
        ({"type": "tool_use", "name": "f"}, REASONING, {"type": "input_json_delta", "partial_json": "{"}),
        (
            {"type": "server_tool_use", "name": "web_search"},
            Activity("web_search"),
            {"type": "input_json_delta", "partial_json": "{"},
        ),
    ],
)
def test_anthropic_reasons(block: dict[str, Any], first: Event, delta: dict[str, Any]) -> None:
    start = messages_event("content_block_start", content_block=block)
    piece = messages_event("content_block_delta", delta=delta)
    assert feed(MessagesDecoder(), start, piece, piece) == [first, REASONING, REASONING]


def test_ping_of_anthropic_is_a_sign_of_work_within_a_block_of_reasoning() -> None:
    decoder, ping = MessagesDecoder(), messages_event("ping")
    assert feed(decoder, ping) == []
    assert feed(decoder, messages_event("content_block_start", content_block={"type": "thinking"})) == [
        REASONING
    ]
    assert feed(decoder, ping) == [REASONING]
    assert feed(decoder, messages_event("content_block_stop"), ping) == []


def test_bedrock_reasons() -> None:
    data = block_delta(reasoningContent={"text": "Hm."}) + block_stop() + tool_use(1, "f", '{"q"', ":1}")
    decoder = ConverseDecoder()
    events = [found for frame in EventStreamParser().feed(data) for found in decoder.feed(frame)]
    assert events[:-1] == [REASONING] * 4


def test_hermes_reasons() -> None:
    kinds = ("reasoning.available", "tool.completed")
    events = [orjson.dumps({"event": kind}) for kind in (*kinds, "something.new")]
    assert feed(HermesRunDecoder(), *events) == [REASONING] * 2
    completed = orjson.dumps({"tool": "x", "status": "completed"})
    assert feed(HermesChatDecoder(), completed, name="hermes.tool.progress") == [REASONING]


def test_openhands_reasons() -> None:
    decoder = OpenHandsTurnDecoder(None)
    decoder.feed({"type": "item_started", "item_id": "i"})
    delta = {"type": "delta", "item_id": "i", "order": 0, "content": "Hm.", "kind": "reasoning"}
    assert decoder.feed(delta) == [REASONING]
    thought = from_legacy_event({"kind": "StreamingDeltaEvent", "reasoning_content": "Hm."})
    assert decoder.feed(thought) == [REASONING]
    action = {"kind": "ActionEvent", "id": "a", "tool_call_id": "t", "summary": "look", "action": {}}
    assert decoder.feed({"type": "durable", "event": action}) == [Activity("look")]
    observation = {"type": "durable", "event": {"kind": "ObservationEvent", "tool_call_id": "t"}}
    assert decoder.feed(observation) == [REASONING]
    assert decoder.feed(observation) == []


def test_docker_agent_reasons() -> None:
    call = {"type": "partial_tool_call", "tool_call": {"id": "1", "function": {"name": "f"}}}
    events = [
        {"type": "agent_choice_reasoning", "content": "Hm."},
        call,
        call,
        {"type": "tool_call_response"},
    ]
    found = feed(DockerEventDecoder("s", "docker"), *map(orjson.dumps, events))
    assert found == [REASONING, Activity("f"), REASONING, REASONING]


def test_zeroclaw_reasons() -> None:
    frames: list[dict[str, Any]] = [
        {"type": "thinking", "content": "Hm."},
        {"type": "thinking"},
        {"type": "tool_call", "name": "shell"},
        {"type": "tool_result", "output": "42"},
    ]
    decoder = ZeroClawTurnDecoder("http://h")
    events = [event for frame in frames for event in decoder.feed(frame)]
    assert events == [REASONING, Activity("shell"), REASONING]
