"""The doctor: tries every agent as a caller would meet it, one step after the other, and measures."""

from __future__ import annotations

import asyncio
import socket
import ssl as tls
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from urllib.parse import urlsplit
from uuid import uuid4

from voicegw.agents.client.connect import connect
from voicegw.app.agents import make_agent
from voicegw.app.serving import AgentFactory
from voicegw.commands.doctor.hints import hint, unreachable, untrusted
from voicegw.commands.doctor.report import AgentReport, ObservedReply
from voicegw.config.load import Config
from voicegw.errors import AgentError, VoicegwError
from voicegw.events import Activity, Agent, Event, Message, Turn, extra_models
from voicegw.settings.agent import AgentSettings as Table

QUESTION = "This is a test of the line. Count from one to ten, in words."
LONG = "This is a test of the line. Count from one to one hundred, in words."
GOODBYE = 5.0
"""Seconds that an agent gets to let go."""

Tell = Callable[[str], None]


class StepFailed(Exception):
    """A step failed; `hint` is what to do about it."""

    def __init__(self, step: str, why: str, remedy: str) -> None:
        super().__init__(why)
        self.step = step
        self.remedy = remedy


async def examine(
    settings: Config,
    names: Sequence[str],
    tell: Tell,
    keep: Callable[[AgentReport], None],
    *,
    within: float = 60.0,
    make: AgentFactory = make_agent,
    now: Callable[[], float] = time.monotonic,
) -> None:
    """Give each of these agents a checkup, one after the other, and `keep` what was found, one by one.

    `tell` hears of every step; none takes more than `within` seconds. `make` makes an agent from its table,
    `now` is the clock.
    """
    doctor = Doctor(settings, tell, within, make, now)
    for name in names:
        keep(await doctor.examine(name))


class Doctor:
    """Examines agents; see `examine`."""

    def __init__(
        self, settings: Config, tell: Tell, within: float, make: AgentFactory, now: Callable[[], float]
    ) -> None:
        self.settings = settings
        self.tell = tell
        self.within = within
        self.make = make
        self.now = now

    async def examine(self, name: str) -> AgentReport:
        """Try one agent, step by step, until one fails."""
        table = self.settings.agents[name]
        found = AgentReport(name, table.kind, ack=table.ack.after, every=table.ack.every)
        agent: Agent | None = None
        try:
            async with self._step("make", found, "making it"):
                agent = self.make(table, self.settings)
            await self._reach(found, table)
            await self._try(found, agent, table.language)
        except StepFailed as sick:
            found.step, found.failure, found.remedy = sick.step, str(sick), sick.remedy
        finally:
            if agent is not None:
                with suppress(Exception):
                    async with asyncio.timeout(GOODBYE):
                        await agent.aclose()
        return found

    async def _try(self, found: AgentReport, agent: Agent, language: str) -> None:
        """Get it ready, open a call and ask, interrupt."""
        async with self._step("ready", found, "getting it ready"):
            began = self.now()
            await agent.warm(None)
            found.ready = self.now() - began
        found.models = tuple(extra_models(agent))
        async with self._call(agent) as call:
            async with self._step("open", found, "opening a call"):
                began = self.now()
                await agent.warm(call)
                found.opened = self.now() - began
            async with self._step("answer", found, "asking it to count to ten"):
                found.answer = ObservedReply()
                await self._ask(agent, _turn(call, QUESTION, language), found.answer)
        async with self._call(agent) as call, self._step("stop", found, "interrupting it"):
            found.cut = ObservedReply()
            await self._ask(agent, _turn(call, LONG, language), found.cut, cut=True)

    @asynccontextmanager
    async def _step(self, name: str, found: AgentReport, what: str) -> AsyncIterator[None]:
        """Tell of a step; whatever goes wrong in it is told in a sentence, with what to do about it."""
        self.tell(f"{found.name}: {what}")
        table = self.settings.agents[found.name]
        try:
            async with asyncio.timeout(self.within):
                yield
        except TimeoutError as error:
            help = unreachable(table) if name in ("connect", "TLS") else hint(error, table)
            raise StepFailed(name, late(name, found, self.within), help) from None
        except Exception as error:
            raise StepFailed(name, *diagnosis(error, table)) from None

    @asynccontextmanager
    async def _call(self, agent: Agent) -> AsyncIterator[str]:
        """A call that nobody else has; it is over for the agent, too, at the end."""
        call = str(uuid4())
        try:
            yield call
        finally:
            with suppress(AgentError):
                await agent.call_ended(call)

    async def _reach(self, found: AgentReport, table: Table) -> None:
        """Connect to the agent's server, if it has one, and see whether its certificate is good."""
        url = getattr(table, "url", None)
        if url is None:
            return
        parts = urlsplit(url)
        host, secure = parts.hostname or "", parts.scheme == "https"
        port = parts.port or (443 if secure else 80)
        async with self._step("connect", found, f"connecting to {host} port {port}"):
            found.connected = await self._dial(host, port, None)
        if secure:
            async with self._step("TLS", found, "looking at its certificate"):
                context = tls.create_default_context(cafile=getattr(table, "ca_file", None))
                found.secured = await self._dial(host, port, context)

    async def _dial(self, host: str, port: int, context: tls.SSLContext | None) -> float:
        """How long it took to connect."""
        began = self.now()
        connection = await connect(host, port, context, set())
        took = self.now() - began
        connection.abort()
        return took

    async def _ask(self, agent: Agent, turn: Turn, answer: ObservedReply, *, cut: bool = False) -> None:
        """Note what comes of one turn, which is `cut` off after its first word."""
        began = self.now()
        async with aclosing(agent.reply(turn)) as events:
            async for event in events:
                note(answer, event, self.now() - began)
                if cut and answer.deltas:
                    break
            stopping = self.now()
        if not answer.deltas:
            raise AgentError("it said nothing")
        if cut:
            answer.stopped = self.now() - stopping
        else:
            answer.over = self.now() - began


def _turn(call: str, question: str, language: str) -> Turn:
    return Turn(f"doctor-{call}", (Message("user", question),), call=call, language=language)


def note(answer: ObservedReply, event: Event, at: float) -> None:
    """Note one event of an answer."""
    if isinstance(event, Activity):
        answer.work.append((at, event.what))
    elif isinstance(event, str) and event.strip():
        answer.deltas.append(at)
        answer.text += event


def late(step: str, found: AgentReport, within: float) -> str:
    """What did not happen in time."""
    answer = found.cut if step == "stop" else found.answer
    if step in ("answer", "stop"):
        began = answer is not None and answer.deltas
        what = (
            "not a word" if not began else "no end of its answer" if step == "answer" else "it did not stop"
        )
        return f"{what} within {within:g} s"
    return f"nothing within {within:g} s"


def diagnosis(error: Exception, table: Table) -> tuple[str, str]:
    """What is wrong, and what to do about it."""
    match error:
        case tls.SSLCertVerificationError():
            return f"its certificate is not trusted: {error.verify_message}", untrusted(error.verify_code)
        case tls.SSLError():
            return "it does not speak TLS", "If it speaks plain HTTP, begin `url` with http://."
        case socket.gaierror():
            return "there is no host of that name", "Correct `url`."
        case ConnectionRefusedError():
            return "nobody listens there", unreachable(table)
        case OSError():
            return f"it cannot be reached: {error.strerror or error}", unreachable(table)
        case VoicegwError():
            return str(error), hint(error, table)
    return f"{type(error).__name__}: {error}", ""
