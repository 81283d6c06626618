"""A full script for HTTP platforms, an agent for it, and gateways with a flaw."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from starlette.types import ASGIApp, Message

from tests.simulate.asgi_http import Flaw, body_message, change_chunks, change_events, post_to_app, unchanged
from tests.support.fake_agent import FakeAgent as Agent
from tests.support.gateway import create_gateway
from voicegw.events import Event, ToolCall, Turn
from voicegw.security.keys import hash_secret
from voicegw.simulate.checks import evaluate_checks
from voicegw.simulate.http_checks import HttpRecording
from voicegw.simulate.http_platform import PlatformRequest
from voicegw.simulate.http_runner import HttpRunner
from voicegw.simulate.platforms.elevenlabs import SimulatedElevenLabs
from voicegw.simulate.platforms.vapi import SimulatedVapi
from voicegw.simulate.script import CallScript

KEY = "a-key-of-32-characters-or-not"
URL = "http://127.0.0.1:8080/v1"
KEYS = {"phone": {"hash": f"sha256:{hash_secret(KEY).hex()}"}}
FULL_SCRIPT = CallScript.model_validate(
    {
        "greeting": "Good morning.",
        "tools": [{"name": "weather", "result": "Sunny."}],
        "turns": [
            {"say": "How is the weather?", "partial": ["How", "How is the"]},
            {"silent": True, "wait": 1.0},
            {"say": "An odd one", "nonsense": True},
            {"press": "1"},
            {"say": "Cut this off", "interrupt": 0.1},
            {"say": "No, wait", "next": 0.6},
            {"say": "This instead"},
            {"say": "Twice", "again": 0.3},
            {"say": "Lost", "drop": 0.3},
            {"say": "Bye", "hang_up": 0.2},
        ],
    }
)


class WeatherAgent(Agent):
    """Calls the weather tool if it is offered, and gives the same answer to every question."""

    async def reply(self, turn: Turn) -> AsyncGenerator[Event, None]:
        if turn.messages[-1].text.endswith("weather?") and turn.tools:
            self.steps = (0.1, ToolCall("call_1", "weather", '{"city":"Rome"}'))
        else:
            self.steps = (0.5, "It is sunny,", 0.2, " in Rome.")
        async for event in super().reply(turn):
            yield event


PlatformClass: TypeAlias = type[SimulatedElevenLabs] | type[SimulatedVapi]


@dataclass(frozen=True)
class FlawedGateway:
    """A gateway with a flaw; `side_effects` are the other checks that it breaks too."""

    flaw: Flaw = unchanged
    side_effects: frozenset[str] = frozenset()
    keys: Mapping[str, Any] = field(default_factory=lambda: KEYS)

    async def run(self, platform: PlatformClass) -> HttpRecording:
        app = create_gateway(WeatherAgent(), keys=self.keys)
        simulated = platform(FULL_SCRIPT, URL, secret=KEY)
        return await HttpRunner(simulated, FULL_SCRIPT, post_to_app(app, self.flaw), try_wrong_key=True).run()


def make_script(*turns: dict[str, Any], **tables: Any) -> CallScript:
    return CallScript.model_validate({"turns": list(turns), **tables})


async def run_call(
    app: ASGIApp, script: CallScript, flaw: Flaw = unchanged, platform: PlatformClass = SimulatedElevenLabs
) -> tuple[HttpRecording, list[PlatformRequest]]:
    requests: list[PlatformRequest] = []
    simulated = platform(script, URL, secret=KEY)
    return await HttpRunner(simulated, script, post_to_app(app, flaw, requests)).run(), requests


def check_states(
    platform: PlatformClass, recording: HttpRecording, script: CallScript = FULL_SCRIPT
) -> dict[str, str]:
    return {found.item: found.state for found in evaluate_checks(platform.checks, recording, script)}


def broken_checks(platform: PlatformClass, recording: HttpRecording) -> set[str]:
    return {item for item, state in check_states(platform, recording).items() if state == "broken"}


def replace_bytes(old: bytes, new: bytes) -> Flaw:
    return change_events(lambda event: [event.replace(old, new) + b"\n\n"])


def delay_head(seconds: float) -> Flaw:
    """Delay the head of every response."""

    def flaw(request: PlatformRequest, message: Message) -> Iterable[Message | float]:
        if message["type"] == "http.response.start":
            yield seconds
        yield message

    return flaw


def refuse_if(which: Callable[[PlatformRequest, dict[str, Any]], bool], status: int) -> Flaw:
    """Refuse some requests."""

    def flaw(request: PlatformRequest, message: Message) -> Iterable[Message]:
        if not which(request, json.loads(request.body)):
            yield message
        elif message["type"] == "http.response.start":
            yield {**message, "status": status, "headers": [(b"content-type", b"application/json")]}
            yield body_message(b'{"error":{"message":"No.","type":"invalid_request_error"}}', more=False)

    return flaw


def last_content(body: dict[str, Any]) -> Any:
    return body["messages"][-1].get("content")


def refuse_connection(request: PlatformRequest, message: Message) -> Iterable[OSError]:
    yield ConnectionRefusedError("nobody is there")


def break_connection(request: PlatformRequest, message: Message) -> Iterable[Message | OSError]:
    """Break the connection during the answer to a silent caller."""
    yield message
    if json.loads(request.body)["messages"][-1]["role"] == "assistant" and b"sunny" in message.get(
        "body", b""
    ):
        yield ConnectionResetError("connection reset")


def remove_text(request: PlatformRequest, message: Message) -> Iterable[Message]:
    """Remove the text of the answer that would be interrupted."""
    if last_content(json.loads(request.body)) == "Cut this off" and "body" in message:
        message = {**message, "body": re.sub(rb'"content":"[^"]*"', b'"content":""', message["body"])}
    yield message


def delay_body_end(request: PlatformRequest, message: Message) -> Iterable[Message | float]:
    """Delay the end of the body after its last event."""
    if message.get("body", b"").endswith(b"[DONE]\n\n"):
        yield body_message(message["body"])
        yield 0.3
        yield body_message(b"", more=False)
    else:
        yield message


def _remove_finish(event: bytes) -> Iterable[bytes]:
    if b'"finish_reason":"' not in event:
        yield event + b"\n\n"


def _delay_rest(event: bytes) -> Iterable[bytes | float]:
    if b" in Rome" in event:
        yield 9.0
    yield event + b"\n\n"


def _change_ids(data: dict[str, Any]) -> None:
    data["id"] += str(len(json.dumps(data["choices"])))


def _rename_tools(data: dict[str, Any]) -> None:
    for choice in data["choices"]:
        for call in choice["delta"].get("tool_calls", []):
            call["function"]["name"] = "other"


def _change_content_type(request: PlatformRequest, message: Message) -> Iterable[Message]:
    """Replace the content type of a stream."""
    if message["type"] == "http.response.start" and message["status"] == 200:
        json_too = json.loads(request.body)["stream"]
        headers = [(b"content-type", b"text/plain")] if json_too else message["headers"]
        message = {**message, "headers": headers}
    yield message


def refuse_second(said: str) -> Flaw:
    """Refuse a request with these words when it comes again."""
    first: dict[bytes, PlatformRequest] = {}
    return refuse_if(
        lambda request, body: (
            last_content(body) == said and first.setdefault(request.body, request) is not request
        ),
        409,
    )


UNANSWERED = frozenset({"status", "answers", "first-words"})
CHAT_FLAWS: Mapping[str, FlawedGateway] = {
    "connects": FlawedGateway(refuse_connection, UNANSWERED | {"wrong-key"}),
    "wrong-key": FlawedGateway(keys={}),
    "answers": FlawedGateway(break_connection, frozenset({"done"})),
    "first-words": FlawedGateway(delay_head(0.6)),
    "silence": FlawedGateway(change_events(_delay_rest)),
    "speakable": FlawedGateway(replace_bytes(b"sunny", b"**sunny**")),
    "status": FlawedGateway(_change_content_type),
    "lines": FlawedGateway(change_events(lambda event: [b"id: 7\n", event + b"\n\n"])),
    "chunks": FlawedGateway(change_chunks(_change_ids)),
    "finish": FlawedGateway(change_events(_remove_finish)),
    "done": FlawedGateway(delay_body_end),
    "not-empty": FlawedGateway(remove_text, frozenset({"first-words"})),
    "tools": FlawedGateway(change_chunks(_rename_tools)),
    "unknown-keys": FlawedGateway(refuse_if(lambda request, body: "x_unknown" in body, 422), UNANSWERED),
    "twice": FlawedGateway(refuse_second("Twice"), frozenset({"status"})),
    "comes-back": FlawedGateway(refuse_second("Lost"), UNANSWERED),
}
"""A flaw for each check that all HTTP platforms share."""
