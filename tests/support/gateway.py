"""A gateway around scripted agents, on the loop's own clock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from starlette.types import ASGIApp, Scope

from tests.support.asgi import Answer, drive
from tests.support.script import Script
from voicegw.app import create as house
from voicegw.calls.codec import CallCodec
from voicegw.calls.endpoint import CallEndpoint
from voicegw.calls.profile import CallProfile
from voicegw.calls.server import CallServer
from voicegw.config.load import Config
from voicegw.conversations.agent_registry import AgentRegistry
from voicegw.conversations.dispatcher import Dispatcher
from voicegw.conversations.engine import TurnEngine
from voicegw.errors import Forbidden
from voicegw.platforms.conversation_relay.codec import RelayCodec
from voicegw.platforms.retell.codec import RetellCodec
from voicegw.security.keys import ApiKey
from voicegw.security.rate_limits import RateLimiter
from voicegw.speech.options import SpeechOptions
from voicegw.telemetry.turn_log import TurnLog
from voicegw.turns.acknowledgement import AckPolicy
from voicegw.turns.dialects import DIALECTS
from voicegw.turns.served_agent import ServedAgent
from voicegw.turns.speech_buffer import SpeechFilters
from voicegw.turns.timeouts import Timeouts

ASK: dict[str, Any] = {"stream": True, "messages": [{"role": "user", "content": "Hello?"}]}


def now() -> float:
    return asyncio.get_running_loop().time()


def settings(**tables: Any) -> Config:
    """A configuration with one agent, "desk", unless told otherwise."""
    desk = {"kind": "scripted", **tables.pop("desk", {})}
    return Config.model_validate({"agents": {"desk": desk}, **tables})


def gateway(agent: Script, **tables: Any) -> ASGIApp:
    """The real application; every agent in its configuration is played by `agent`."""
    return house.create_app(settings(**tables), now=now, agents=lambda table, config: agent)


async def ask(app: ASGIApp, body: dict[str, Any] | None = None, **how: Any) -> Answer:
    """One turn; `body` is what differs from a plain streaming question."""
    return await drive(app, {**ASK, **(body or {})}, **how)


def floor(
    agent: Script, *, turns: int = 100, most: int = 500, calls: int | None = None, **how: Any
) -> tuple[CallServer, Dispatcher]:
    """The floor of a gateway that takes calls of Twilio's and of Retell's; `how` goes to their routes."""
    line = ServedAgent(
        "desk",
        agent,
        DIALECTS["voice"],
        how.pop("ack", AckPolicy(0.0)),
        timeouts=Timeouts(5.0),
        speech_filters=SpeechFilters(SpeechOptions(), {}),
    )
    board = Dispatcher(AgentRegistry({"desk": line}), now=now)
    house = TurnEngine(board, RateLimiter(turns), TurnLog())

    def desk(name: str, named: bool, codec: Callable[[str | None, CallProfile], CallCodec]) -> CallEndpoint:
        def admit(scope: Scope) -> str | None:
            if "wrong" in scope["path"]:
                raise Forbidden("No.")
            return scope["path"].rpartition("/")[2] if named else None

        believe = lambda opened: opened.call != "CAfalse"  # noqa: E731
        return CallEndpoint(name, CallProfile(ApiKey(name, b""), line, **how), admit, codec, believe, calls)

    desks = {
        "twilio": desk("twilio", False, lambda call, route: RelayCodec("twilio")),
        "retell": desk("retell", True, lambda call, route: RetellCodec(call or "")),
    }
    return CallServer(house, desks, max_calls=most), board
