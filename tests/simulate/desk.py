"""A desk to be called in rehearsals by requests, a whole script, and gateways broken on purpose."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from starlette.types import ASGIApp, Message

from tests.simulate.poststage import Flaw, chunk, events, part, poststage, sound
from tests.support.gateway import gateway
from tests.support.script import Script as Agent
from voicegw.events import Event, ToolCall, Turn
from voicegw.security.keys import digest
from voicegw.simulate.checks import evaluate_checks
from voicegw.simulate.http_checks import HttpRecording
from voicegw.simulate.http_platform import PlatformRequest
from voicegw.simulate.http_runner import HttpRunner
from voicegw.simulate.platforms.elevenlabs import SimulatedElevenLabs
from voicegw.simulate.platforms.vapi import SimulatedVapi
from voicegw.simulate.script import CallScript

KEY = "a-key-of-32-characters-or-not"
URL = "http://127.0.0.1:8080/v1"
KEYS = {"phone": {"hash": f"sha256:{digest(KEY).hex()}"}}
EVERYTHING = CallScript.model_validate(
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


class Desk(Agent):
    """Asks for the weather by a tool, where it is offered, and says the same of everything."""

    async def reply(self, turn: Turn) -> AsyncGenerator[Event, None]:
        if turn.messages[-1].text.endswith("weather?") and turn.tools:
            self.steps = (0.1, ToolCall("call_1", "weather", '{"city":"Rome"}'))
        else:
            self.steps = (0.5, "It is sunny,", 0.2, " in Rome.")
        async for event in super().reply(turn):
            yield event


Platform: TypeAlias = type[SimulatedElevenLabs] | type[SimulatedVapi]


@dataclass(frozen=True)
class Broken:
    """A gateway with a flaw; `also` are the entries that cannot but break with it."""

    flaw: Flaw = sound
    also: frozenset[str] = frozenset()
    keys: Mapping[str, Any] = field(default_factory=lambda: KEYS)

    async def play(self, platform: Platform) -> HttpRecording:
        app = gateway(Desk(), keys=self.keys)
        caller = platform(EVERYTHING, URL, secret=KEY)
        return await HttpRunner(caller, EVERYTHING, poststage(app, self.flaw), try_wrong_key=True).run()


def script(*turns: dict[str, Any], **tables: Any) -> CallScript:
    return CallScript.model_validate({"turns": list(turns), **tables})


async def play(
    app: ASGIApp, played: CallScript, flaw: Flaw = sound, platform: Platform = SimulatedElevenLabs
) -> tuple[HttpRecording, list[PlatformRequest]]:
    posted: list[PlatformRequest] = []
    caller = platform(played, URL, secret=KEY)
    return await HttpRunner(caller, played, poststage(app, flaw, posted)).run(), posted


def states(platform: Platform, tape: HttpRecording, script: CallScript = EVERYTHING) -> dict[str, str]:
    return {found.item: found.state for found in evaluate_checks(platform.checks, tape, script)}


def broken(platform: Platform, tape: HttpRecording) -> set[str]:
    return {item for item, state in states(platform, tape).items() if state == "broken"}


def replaced(old: bytes, new: bytes) -> Flaw:
    return events(lambda event: [event.replace(old, new) + b"\n\n"])


def headless(seconds: float) -> Flaw:
    """The head of every answer comes late."""

    def flaw(request: PlatformRequest, message: Message) -> Iterable[Message | float]:
        if message["type"] == "http.response.start":
            yield seconds
        yield message

    return flaw


def refusing(which: Callable[[PlatformRequest, dict[str, Any]], bool], status: int) -> Flaw:
    """Some requests are refused."""

    def flaw(request: PlatformRequest, message: Message) -> Iterable[Message]:
        if not which(request, json.loads(request.body)):
            yield message
        elif message["type"] == "http.response.start":
            yield {**message, "status": status, "headers": [(b"content-type", b"application/json")]}
            yield part(b'{"error":{"message":"No.","type":"invalid_request_error"}}', more=False)

    return flaw


def last(body: dict[str, Any]) -> Any:
    return body["messages"][-1].get("content")


def nobody(request: PlatformRequest, message: Message) -> Iterable[OSError]:
    yield ConnectionRefusedError("nobody is there")


def dying(request: PlatformRequest, message: Message) -> Iterable[Message | OSError]:
    """The connection breaks within the answer to a silent caller."""
    yield message
    if json.loads(request.body)["messages"][-1]["role"] == "assistant" and b"sunny" in message.get(
        "body", b""
    ):
        yield ConnectionResetError("connection reset")


def mute(request: PlatformRequest, message: Message) -> Iterable[Message]:
    """No words come in the answer that would be cut off."""
    if last(json.loads(request.body)) == "Cut this off" and "body" in message:
        message = {**message, "body": re.sub(rb'"content":"[^"]*"', b'"content":""', message["body"])}
    yield message


def lingering(request: PlatformRequest, message: Message) -> Iterable[Message | float]:
    """The body goes on after its last event."""
    if message.get("body", b"").endswith(b"[DONE]\n\n"):
        yield part(message["body"])
        yield 0.3
        yield part(b"", more=False)
    else:
        yield message


def _without_finish(event: bytes) -> Iterable[bytes]:
    if b'"finish_reason":"' not in event:
        yield event + b"\n\n"


def _slowly(event: bytes) -> Iterable[bytes | float]:
    if b" in Rome" in event:
        yield 9.0
    yield event + b"\n\n"


def _numbered(data: dict[str, Any]) -> None:
    data["id"] += str(len(json.dumps(data["choices"])))


def _renamed(data: dict[str, Any]) -> None:
    for choice in data["choices"]:
        for call in choice["delta"].get("tool_calls", []):
            call["function"]["name"] = "other"


def _plain(request: PlatformRequest, message: Message) -> Iterable[Message]:
    """The content type is not that of a stream."""
    if message["type"] == "http.response.start" and message["status"] == 200:
        json_too = json.loads(request.body)["stream"]
        headers = [(b"content-type", b"text/plain")] if json_too else message["headers"]
        message = {**message, "headers": headers}
    yield message


def second(said: str) -> Flaw:
    """A request with these words is refused when it comes again."""
    first: dict[bytes, PlatformRequest] = {}
    return refusing(
        lambda request, body: last(body) == said and first.setdefault(request.body, request) is not request,
        409,
    )


UNANSWERED = frozenset({"status", "answers", "first-words"})
CHAT_FLAWS: Mapping[str, Broken] = {
    "connects": Broken(nobody, UNANSWERED | {"wrong-key"}),
    "wrong-key": Broken(keys={}),
    "answers": Broken(dying, frozenset({"done"})),
    "first-words": Broken(headless(0.6)),
    "silence": Broken(events(_slowly)),
    "speakable": Broken(replaced(b"sunny", b"**sunny**")),
    "status": Broken(_plain),
    "lines": Broken(events(lambda event: [b"id: 7\n", event + b"\n\n"])),
    "chunks": Broken(chunk(_numbered)),
    "finish": Broken(events(_without_finish)),
    "done": Broken(lingering),
    "not-empty": Broken(mute, frozenset({"first-words"})),
    "tools": Broken(chunk(_renamed)),
    "unknown-keys": Broken(refusing(lambda request, body: "x_unknown" in body, 422), UNANSWERED),
    "twice": Broken(second("Twice"), frozenset({"status"})),
    "comes-back": Broken(second("Lost"), UNANSWERED),
}
"""A flaw for every entry of the checklist that all platforms share."""
