"""An agent for load tests: whoever asks it says how it should answer.

The wish is in the caller's last words, in square brackets, or is the name of the model: a timing that
`loadtests.servers.upstream` understands, "dead" for a server that nobody can reach, and "tool:" before a timing for
an agent that says it is at work before it is silent.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

from voicegw.agents.openai.agent import OpenAI
from voicegw.events import Doing, Event, Turn

WISH = re.compile(r"\[([^\[\]]+)\]\s*$")
CLOSED = "http://127.0.0.1:1/v1"
"""Nobody listens on this port."""


class Wished:
    """The agent; `url` is the upstream's."""

    def __init__(self, url: str) -> None:
        self.alive = OpenAI(url)
        self.dead = OpenAI(CLOSED)

    async def reply(self, turn: Turn) -> AsyncGenerator[Event, None]:
        said = WISH.search(turn.said)
        wished = said[1] if said else turn.model
        model = wished.removeprefix("tool:")
        if model != wished:
            yield Doing("looking it up")
        agent = self.dead if model == "dead" else self.alive
        async with aclosing(agent.reply(replace(turn, model=model))) as events:
            async for event in events:
                yield event

    async def aclose(self) -> None:
        await self.alive.aclose()
        await self.dead.aclose()
