"""A gateway around scripted agents, on the loop's own clock."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.types import ASGIApp

from tests.asgi import Answer, drive
from tests.script import Script
from voicegw import app as house
from voicegw.config import Config

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
