"""A gateway around scripted agents, on the loop's own clock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from starlette.types import ASGIApp, Scope

from tests.asgi import Answer, drive
from tests.script import Script
from voicegw import app as house
from voicegw.ack import AckPolicy
from voicegw.config import Config
from voicegw.dialects import DIALECTS
from voicegw.errors import Forbidden
from voicegw.guard import Key, Limits
from voicegw.journal import Journal
from voicegw.patience import Patience
from voicegw.speaking import Diction
from voicegw.speech.style import Style
from voicegw.surfaces.floor import Desk, Floor
from voicegw.surfaces.route import House, Route
from voicegw.switchboard import Line, Switchboard
from voicegw.wire.phone import CallCodec
from voicegw.wire.relay import Relay
from voicegw.wire.retell import Retell

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
    board = Switchboard({"desk": line}, now=now)
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
