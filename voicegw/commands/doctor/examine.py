"""The examination of `voicegw doctor`: tries each agent step by step, as a caller meets it, and measures.

It judges nothing: `report` gives the advice, and `hints` explain failures.
"""

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
from voicegw.app.served_agents import AgentFactory
from voicegw.commands.doctor.hints import certificate_hint, hint_for, unreachable_hint
from voicegw.commands.doctor.report import AgentReport, ObservedReply
from voicegw.config.load import Config
from voicegw.errors import AgentError, VoicegwError
from voicegw.events import Activity, Agent, Event, Message, Turn, extra_models
from voicegw.settings.agent import AgentSettings

QUESTION = "This is a test of the line. Count from one to ten, in words."
LONG_QUESTION = "This is a test of the line. Count from one to one hundred, in words."
CLOSE_TIMEOUT = 5.0
"""Seconds that an agent gets to close; after them the doctor goes on without it."""

OnStep = Callable[[str], None]


class StepFailed(Exception):
    """A step of the examination failed.

    Attributes:
        step: the name of the step, as in `AgentReport.failed_step`.
        hint: how to mend the failure, as a sentence; "" if that is not known.
    """

    def __init__(self, step: str, failure: str, hint: str) -> None:
        super().__init__(failure)
        self.step = step
        self.hint = hint


async def examine(
    config: Config,
    names: Sequence[str],
    on_step: OnStep,
    on_report: Callable[[AgentReport], None],
    *,
    step_timeout: float = 60.0,
    factory: AgentFactory = make_agent,
    now: Callable[[], float] = time.monotonic,
) -> None:
    """Examine the agents of these names one after the other.

    `on_step` gets a line of text before each step, `on_report` gets each report when it is complete.
    A step may take `step_timeout` seconds. `factory` makes an agent from its settings, `now` is the clock.
    A failure of an agent is in its report and is not raised.
    """
    doctor = Doctor(config, on_step, step_timeout, factory, now)
    for name in names:
        on_report(await doctor.examine(name))


class Doctor:
    """Examines agents; see `examine` for the arguments."""

    def __init__(
        self,
        config: Config,
        on_step: OnStep,
        step_timeout: float,
        factory: AgentFactory,
        now: Callable[[], float],
    ) -> None:
        self.config = config
        self.on_step = on_step  # gets a line of text before each step
        self.step_timeout = step_timeout  # in seconds
        self.factory = factory  # makes an agent from its settings
        self.now = now  # the clock, in seconds

    async def examine(self, name: str) -> AgentReport:
        """Try one agent until a step fails; close it, and return the report."""
        settings = self.config.agents[name]
        report = AgentReport(name, settings.kind, ack_after=settings.ack.after, ack_every=settings.ack.every)
        agent: Agent | None = None
        try:
            async with self._step("make", report, "creating the agent"):
                agent = self.factory(settings, self.config)
            await self._try_connection(report, settings)
            await self._try_turns(report, agent, settings.language)
        except StepFailed as error:
            report.failed_step, report.failure, report.hint = error.step, str(error), error.hint
        finally:
            if agent is not None:
                with suppress(Exception):
                    async with asyncio.timeout(CLOSE_TIMEOUT):
                        await agent.aclose()
        return report

    async def _try_turns(self, report: AgentReport, agent: Agent, language: str) -> None:
        """Prepare the agent, let it answer once, and interrupt a second answer in a second call."""
        async with self._step("ready", report, "preparing it"):
            start = self.now()
            await agent.warm(None)
            report.ready_seconds = self.now() - start
        report.models = tuple(extra_models(agent))
        async with self._call(agent) as call:
            async with self._step("open", report, "opening a call"):
                start = self.now()
                await agent.warm(call)
                report.open_seconds = self.now() - start
            async with self._step("answer", report, "asking it to count to ten"):
                report.answer = ObservedReply()
                await self._observe(agent, _turn(call, QUESTION, language), report.answer)
        async with self._call(agent) as call, self._step("stop", report, "interrupting it"):
            report.interrupted_answer = ObservedReply()
            turn = _turn(call, LONG_QUESTION, language)
            await self._observe(agent, turn, report.interrupted_answer, interrupt=True)

    @asynccontextmanager
    async def _step(self, name: str, report: AgentReport, description: str) -> AsyncIterator[None]:
        """Announce a step and limit its time. Raises StepFailed for any exception within it."""
        self.on_step(f"{report.name}: {description}")
        settings = self.config.agents[report.name]
        try:
            async with asyncio.timeout(self.step_timeout):
                yield
        except TimeoutError as error:
            is_connecting = name in ("connect", "TLS")
            hint = unreachable_hint(settings) if is_connecting else hint_for(error, settings)
            raise StepFailed(name, describe_timeout(name, report, self.step_timeout), hint) from None
        except Exception as error:
            raise StepFailed(name, *diagnose(error, settings)) from None

    @asynccontextmanager
    async def _call(self, agent: Agent) -> AsyncIterator[str]:
        """Give the id of a new call; at the end, tell the agent that the call has ended."""
        call = str(uuid4())
        try:
            yield call
        finally:
            with suppress(AgentError):
                await agent.call_ended(call)

    async def _try_connection(self, report: AgentReport, settings: AgentSettings) -> None:
        """Connect to the agent's server, if it has one, and check its certificate, if it uses TLS."""
        url = getattr(settings, "url", None)
        if url is None:
            return
        parts = urlsplit(url)
        host, is_secure = parts.hostname or "", parts.scheme == "https"
        port = parts.port or (443 if is_secure else 80)
        async with self._step("connect", report, f"connecting to {host} port {port}"):
            report.connect_seconds = await self._time_connect(host, port, None)
        if is_secure:
            async with self._step("TLS", report, "checking its certificate"):
                context = tls.create_default_context(cafile=getattr(settings, "ca_file", None))
                report.tls_seconds = await self._time_connect(host, port, context)

    async def _time_connect(self, host: str, port: int, context: tls.SSLContext | None) -> float:
        """Return the seconds that a connection takes, with a TLS handshake if `context` is given."""
        start = self.now()
        connection = await connect(host, port, context, set())
        seconds = self.now() - start
        connection.abort()
        return seconds

    async def _observe(
        self, agent: Agent, turn: Turn, answer: ObservedReply, *, interrupt: bool = False
    ) -> None:
        """Record the answer to a turn; with `interrupt`, close it after its first word.

        Raises AgentError if the answer is empty.
        """
        start = self.now()
        async with aclosing(agent.reply(turn)) as events:
            async for event in events:
                record_event(answer, event, self.now() - start)
                if interrupt and answer.delta_times:
                    break
            stop_start = self.now()
        if not answer.delta_times:
            raise AgentError("its answer is empty")
        if interrupt:
            answer.stop_seconds = self.now() - stop_start
        else:
            answer.total_seconds = self.now() - start


def _turn(call: str, question: str, language: str) -> Turn:
    return Turn(f"doctor-{call}", (Message("user", question),), call=call, language=language)


def record_event(answer: ObservedReply, event: Event, at: float) -> None:
    """Add one event to an answer, `at` seconds after the question."""
    if isinstance(event, Activity):
        answer.activities.append((at, event.what))
    elif isinstance(event, str) and event.strip():
        answer.delta_times.append(at)
        answer.text += event


def describe_timeout(step: str, report: AgentReport, timeout: float) -> str:
    """Return a phrase for the step that did not end within `timeout` seconds."""
    answer = report.interrupted_answer if step == "stop" else report.answer
    if step not in ("answer", "stop"):
        missing = "no result"
    elif answer is None or not answer.delta_times:
        missing = "no word of an answer"
    else:
        missing = "no end of its answer" if step == "answer" else "it did not stop"
    return f"{missing} within {timeout:g} s"


def diagnose(error: Exception, settings: AgentSettings) -> tuple[str, str]:
    """Return the failure in plain words and how to mend it; "" where that is not known."""
    match error:
        case tls.SSLCertVerificationError():
            failure = f"its certificate is not trusted: {error.verify_message}"
            return failure, certificate_hint(error.verify_code)
        case tls.SSLError():
            return "it does not speak TLS", "If it speaks plain HTTP, begin `url` with http://."
        case socket.gaierror():
            return "there is no host of that name", "Correct `url`."
        case ConnectionRefusedError():
            return "no server listens there", unreachable_hint(settings)
        case OSError():
            return f"it cannot be reached: {error.strerror or error}", unreachable_hint(settings)
        case VoicegwError():
            return str(error), hint_for(error, settings)
    return f"{type(error).__name__}: {error}", ""
