"""A model whose turns begin alike, and which has that beginning read before the caller speaks.

Providers keep the beginning of a prompt for some minutes; a long one that they have to read anew makes the
first answer of a call late. A request for one token at the opening of the call moves that out of its way.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from itertools import takewhile

from voicegw.events import Agent, Event, Message, Turn, extra_models

log = logging.getLogger("voicegw.error")

HOT = 240.0
"""Seconds for which a provider surely keeps what it read; five minutes is what most promise."""
WITHIN = 10.0
"""Seconds that reading ahead may take."""
LIMITS = ("max_tokens", "max_completion_tokens")
"""What the most tokens of an answer are called; which one it is depends on the server."""


class CacheWarmedAgent:
    """`agent` with `instructions` for turns that bring none; with `warm`, it is asked ahead for one token.

    What is read ahead is what the last turn began with, its instructions and tools; before the first turn it
    is the instructions alone. That is done at start, which also shows whether key and model are right, and
    when a call opens after a pause. The call's own turn puts an end to it. `limit` is the server's name for
    the most tokens of an answer, `now` a clock in seconds.
    """

    def __init__(
        self,
        agent: Agent,
        *,
        instructions: str | None = None,
        warm: bool = False,
        limit: str = LIMITS[0],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.agent = agent
        self._own = (Message("system", instructions),) if instructions else ()
        self._warm = warm
        self._limit = limit
        self._now = now
        self._begins = Turn("ahead", self._own)
        self._read: float | None = None
        self._reading: asyncio.Timeout | None = None
        self._for: str | None = None

    async def reply(self, turn: Turn) -> AsyncGenerator[Event, None]:
        if self._own and not any(map(instructs, turn.messages)):
            turn = replace(turn, messages=(*self._own, *turn.messages))
        if self._warm:
            self._learn(turn)
        async with aclosing(self.agent.reply(turn)) as events:
            async for event in events:
                yield event

    def _learn(self, turn: Turn) -> None:
        """The next turns begin as this one; it has that read itself."""
        if self._for in (None, turn.call):
            self._stop()
        if not turn.background:
            self._read = self._now()
            self._begins = beginning(turn)

    def _stop(self) -> None:
        reading, self._reading = self._reading, None
        if reading is not None and not reading.expired():
            reading.reschedule(asyncio.get_running_loop().time())

    async def warm(self, call: str | None = None) -> None:
        """Get ready. Raises `AgentError` when the server cannot be reached or refuses us."""
        await self.agent.warm(call)
        if self._warm and self._reading is None and (call is None or self._cold):
            await self._read_ahead(call)

    @property
    def _cold(self) -> bool:
        """Is there a beginning that the provider may have forgotten?"""
        known = self._begins.messages or self._begins.tools
        return bool(known) and (self._read is None or self._now() - self._read >= HOT)

    async def _read_ahead(self, call: str | None) -> None:
        """Ask for one token; meanwhile another connection is made ready, for the turn."""
        self._for = call
        try:
            async with asyncio.timeout(WITHIN) as reading, asyncio.TaskGroup() as both:
                self._reading = reading
                both.create_task(self._ask(self._begins))
                both.create_task(self.agent.warm(call))
            self._read = self._now()
        except TimeoutError:
            if self._reading is reading:
                log.info("the beginning of the prompt was not read within %g seconds", WITHIN)
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None
        finally:
            if self._reading is reading:
                self._reading = None

    async def _ask(self, begins: Turn) -> None:
        """Whatever comes first shows that the beginning was read; more is not waited for."""
        limits = [name for name in LIMITS if name in begins.options] or [self._limit]
        short = {**begins.options, **dict.fromkeys(limits, 1)}
        turn = replace(begins, messages=(*begins.messages, Message("user", "Hi")), options=short)
        async with aclosing(self.agent.reply(turn)) as events:
            async for _ in events:
                break

    @property
    def models(self) -> Sequence[str]:
        return extra_models(self.agent)

    async def call_ended(self, call: str) -> None:
        await self.agent.call_ended(call)

    async def aclose(self) -> None:
        await self.agent.aclose()


def instructs(message: Message) -> bool:
    return message.role in ("system", "developer")


def beginning(turn: Turn) -> Turn:
    """What the turns after this one have in common with it, whatever the caller says."""
    return Turn(
        "ahead",
        tuple(takewhile(instructs, turn.messages)),
        model=turn.model,
        language=turn.language,
        tools=turn.tools,
        options=turn.options,
    )
