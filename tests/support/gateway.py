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
from voicegw.calls.endpoint import Desk
from voicegw.calls.profile import Route
from voicegw.calls.server import Floor
from voicegw.config.load import Config
from voicegw.conversations.agent_registry import AgentRegistry
from voicegw.conversations.dispatcher import Switchboard
from voicegw.conversations.engine import House
from voicegw.errors import Forbidden
from voicegw.platforms.conversation_relay.codec import Relay
from voicegw.platforms.retell.codec import Retell
from voicegw.security.keys import Key
from voicegw.security.rate_limits import Limits
from voicegw.speech.options import Style
from voicegw.telemetry.turn_log import Journal
from voicegw.turns.acknowledgement import AckPolicy
from voicegw.turns.dialects import DIALECTS
from voicegw.turns.served_agent import Line
from voicegw.turns.speech_buffer import Diction
from voicegw.turns.timeouts import Patience

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
) -> tuple[Floor, Switchboard]:
    """The floor of a gateway that takes calls of Twilio's and of Retell's; `how` goes to their routes."""
    line = Line(
        "desk",
        agent,
        DIALECTS["voice"],
        how.pop("ack", AckPolicy(0.0)),
        patience=Patience(5.0),
        diction=Diction(Style(), {}),
    )
    board = Switchboard(AgentRegistry({"desk": line}), now=now)
    house = House(board, Limits(turns), Journal())

    def desk(name: str, named: bool, codec: Callable[[str | None, Route], CallCodec]) -> Desk:
        def admit(scope: Scope) -> str | None:
            if "wrong" in scope["path"]:
                raise Forbidden("No.")
            return scope["path"].rpartition("/")[2] if named else None

        believe = lambda opened: opened.call != "CAfalse"  # noqa: E731
        return Desk(name, Route(Key(name, b""), line, **how), admit, codec, believe, calls)

    desks = {
        "twilio": desk("twilio", False, lambda call, route: Relay("twilio")),
        "retell": desk("retell", True, lambda call, route: Retell(call or "")),
    }
    return Floor(house, desks, most=most), board
