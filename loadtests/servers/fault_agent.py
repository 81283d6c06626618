"""An agent for load tests whose answers are chosen by the caller. It runs in the gateway.

The caller's last words end with a model name in square brackets; without one, the model of the turn counts.
The name is a timing that `loadtests.servers.upstream` understands, or "dead" for a server that refuses
connections. "tool:" before a timing makes the agent announce an activity before it waits.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

from voicegw.agents.openai.agent import OpenAIAgent
from voicegw.events import Activity, Event, Turn

MODEL_IN_TEXT = re.compile(r"\[([^\[\]]+)\]\s*$")
CLOSED_URL = "http://127.0.0.1:1/v1"
"""An address on which no server listens."""


class FaultAgent:
    """Passes turns on to the upstream at the base URL `url`."""

    def __init__(self, url: str) -> None:
        self.alive = OpenAIAgent(url)
        self.dead = OpenAIAgent(CLOSED_URL)

    async def reply(self, turn: Turn) -> AsyncGenerator[Event, None]:
        """Yield the events of the upstream's answer."""
        found = MODEL_IN_TEXT.search(turn.said)
        name = found[1] if found else turn.model
        model = name.removeprefix("tool:")
        if model != name:
            yield Activity("looking it up")
        agent = self.dead if model == "dead" else self.alive
        async with aclosing(agent.reply(replace(turn, model=model))) as events:
            async for event in events:
                yield event

    async def aclose(self) -> None:
        await self.alive.aclose()
        await self.dead.aclose()
