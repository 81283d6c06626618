"""The doctor: tries every agent as a caller would meet it, one step after the other, and measures."""

from __future__ import annotations

import asyncio
import ssl as tls
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from urllib.parse import urlsplit
from uuid import uuid4

from voicegw.agent_tables import Agent as Table
from voicegw.checkup import Answer, Checkup
from voicegw.config import Config
from voicegw.errors import AgentError, VoicegwError
from voicegw.events import Agent, Doing, Event, Message, Turn, models_of
from voicegw.lines import Maker
from voicegw.makers import make_agent

QUESTION = "This is a test of the line. Count from one to ten, in words."
LONG = "This is a test of the line. Count from one to one hundred, in words."
GOODBYE = 5.0
"""Seconds that an agent gets to let go."""

Tell = Callable[[str], None]


class Sick(Exception):
    """A step failed."""

    def __init__(self, step: str, why: str) -> None:
        super().__init__(why)
        self.step = step


async def examine(
    settings: Config,
    names: Sequence[str],
    tell: Tell,
    *,
    within: float = 60.0,
    make: Maker = make_agent,
    now: Callable[[], float] = time.monotonic,
) -> list[Checkup]:
    """A checkup of each of these agents, one after the other.

    `tell` hears of every step; none takes more than `within` seconds. `make` makes an agent from its table,
    `now` is the clock.
    """
    doctor = Doctor(settings, tell, within, make, now)
    return [await doctor.examine(name) for name in names]


class Doctor:
    """Examines agents; see `examine`."""

    def __init__(
        self, settings: Config, tell: Tell, within: float, make: Maker, now: Callable[[], float]
    ) -> None:
        self.settings = settings
        self.tell = tell
        self.within = within
        self.make = make
        self.now = now

    async def examine(self, name: str) -> Checkup:
        """Try one agent, step by step, until one fails."""
        table = self.settings.agents[name]
        found = Checkup(name, table.kind)
        agent: Agent | None = None
        try:
            async with self._step("make", f"{name}: making it"):
                agent = self.make(table, self.settings)
            await self._reach(found, table)
            async with self._step("ready", f"{name}: getting it ready"):
                began = self.now()
                await agent.warm(None)
                found.ready = self.now() - began
            found.models = tuple(models_of(agent))
            async with self._step("answer", f"{name}: asking it to count to ten"):
                found.answer = await self._ask(agent, table, QUESTION)
            async with self._step("stop", f"{name}: interrupting it"):
                found.cut = await self._ask(agent, table, LONG, cut=True)
        except Sick as sick:
            found.step, found.failure = sick.step, str(sick)
        finally:
            if agent is not None:
                with suppress(Exception):
                    async with asyncio.timeout(GOODBYE):
                        await agent.aclose()
        return found

    @asynccontextmanager
    async def _step(self, name: str, what: str) -> AsyncIterator[None]:
        """Tell of a step; whatever goes wrong in it is told in a sentence."""
        self.tell(what)
        try:
            async with asyncio.timeout(self.within):
                yield
        except VoicegwError as error:
            raise Sick(name, str(error)) from None
        except TimeoutError:
            raise Sick(name, f"nothing within {self.within:g} s") from None
        except Exception as error:
            raise Sick(name, f"{type(error).__name__}: {error}") from None

    async def _reach(self, found: Checkup, table: Table) -> None:
        """Connect to the agent's server, if it has one, and see whether its certificate is good."""
        url = getattr(table, "url", None)
        if url is None:
            return
        parts = urlsplit(url)
        host, secure = parts.hostname or "", parts.scheme == "https"
        port = parts.port or (443 if secure else 80)
        async with self._step("connect", f"{found.name}: connecting to {host} port {port}"):
            found.connected = await self._dial(host, port, None)
        if secure:
            async with self._step("TLS", f"{found.name}: looking at its certificate"):
                context = tls.create_default_context(cafile=getattr(table, "ca_file", None))
                found.secured = await self._dial(host, port, context)

    async def _dial(self, host: str, port: int, context: tls.SSLContext | None) -> float:
        """How long it took to connect."""
        began = self.now()
        _, writer = await asyncio.open_connection(host, port, ssl=context)
        took = self.now() - began
        writer.transport.abort()
        return took

    async def _ask(self, agent: Agent, table: Table, question: str, *, cut: bool = False) -> Answer:
        """One short turn of a call that nobody else has; `cut` off after its first word."""
        call = str(uuid4())
        turn = Turn(f"doctor-{call}", (Message("user", question),), call=call, language=table.language)
        answer, began = Answer(), self.now()
        try:
            async with aclosing(agent.reply(turn)) as events:
                async for event in events:
                    note(answer, event, self.now() - began)
                    if cut and answer.deltas:
                        break
                stopping = self.now()
            if cut:
                answer.stopped = self.now() - stopping
            else:
                answer.over = self.now() - began
        finally:
            with suppress(AgentError):
                await agent.leave(call)
        if not answer.deltas:
            raise AgentError("it said nothing")
        return answer


def note(answer: Answer, event: Event, at: float) -> None:
    """Note one event of an answer."""
    if isinstance(event, Doing):
        answer.work.append((at, event.what))
    elif isinstance(event, str) and event.strip():
        answer.deltas.append(at)
        answer.text += event
