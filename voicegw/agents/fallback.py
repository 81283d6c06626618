"""An agent made of other agents: it retries one, or tries the next one, until one produces output.

Each attempt is a run with its own deadlines and its own task, so the caller never waits for an agent that is
slow to stop. The acknowledgement of the turn fills the time until another agent answers. This module decides
which failures are retried; the deadlines are in `voicegw.turns.timeouts`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from voicegw.errors import AgentBusy, AgentUnavailable, VoicegwError
from voicegw.events import REASONING, Agent, Turn, extra_models
from voicegw.turns.bulkhead import Bulkhead
from voicegw.turns.run import SUPERSEDE_WAIT, Run
from voicegw.turns.streaming import EventSink, StreamingAgent
from voicegw.turns.timeouts import Timeouts


@dataclass(frozen=True, slots=True)
class FallbackStep:
    """One agent of a chain, with `timeouts`, the deadlines of an attempt, and the `bulkhead` of its runs.

    `idempotent`: a turn may be sent twice without harm. Such an agent gets up to `max_attempts` attempts,
    and after any failure the next agent is tried. After the failure of another agent, the next one is tried
    only if the turn never reached it.
    """

    agent: Agent
    timeouts: Timeouts = field(default_factory=Timeouts)
    idempotent: bool = False
    max_attempts: int = 1
    bulkhead: Bulkhead = field(default_factory=Bulkhead)


class FallbackAgent(StreamingAgent):
    """Tries its steps in order until one produces output; the rest of the turn is that agent's alone.

    `now` returns a time in seconds that never goes back. `attempt_order` holds the step of each attempt, in
    order. `active_runs` are the runs that have not ended, those of slow agents that were given up included.
    """

    def __init__(self, steps: Sequence[FallbackStep], *, now: Callable[[], float] = time.monotonic) -> None:
        self.attempt_order = [
            step for step in steps for _ in range(step.max_attempts if step.idempotent else 1)
        ]
        self.now = now
        self.active_runs: set[Run] = set()

    async def stream(self, turn: Turn, sink: EventSink) -> None:
        """Stream the first attempt that produces output or may not be followed by another.

        Raises the `VoicegwError` with which that attempt failed, and `AgentBusy` if the last agent's bulkhead
        is full. An agent whose bulkhead is full is not asked.
        """
        for number, step in enumerate(self.attempt_order, 1):
            if not step.bulkhead.acquire():
                if number < len(self.attempt_order):
                    continue
                raise AgentBusy(
                    f"{step.bulkhead.max_runs} turns of the agent have not ended, the most allowed"
                )
            attempt = FallbackAttempt(self._create_run(step, turn), sink)
            try:
                await attempt.wait_for_output()
                failure = attempt.failure
                if failure is not None and number < len(self.attempt_order) and may_fall_back(step, failure):
                    continue
                await attempt.forward()
                if attempt.failure is not None:
                    raise attempt.failure
                return
            finally:
                await attempt.close()

    def _create_run(self, step: FallbackStep, turn: Turn) -> Run:
        def on_end(run: Run) -> None:
            step.bulkhead.release()
            self.active_runs.discard(run)

        run = Run(step.agent, turn, on_end, now=self.now, timeouts=step.timeouts)
        self.active_runs.add(run)
        return run

    @property
    def models(self) -> Sequence[str]:
        """The models of the first agent."""
        return extra_models(self.attempt_order[0].agent)

    async def warm(self, call: str | None = None) -> None:
        """Warm the first agent for a call; raises what that agent raises, such as an `AgentError`.

        Without a call it does nothing: at the start of the gateway, each agent is warmed by its own entry.
        """
        if call is not None:
            await self.attempt_order[0].agent.warm(call)

    async def call_ended(self, call: str) -> None:
        """Do nothing: the gateway calls this method of every agent of the chain directly."""

    async def aclose(self) -> None:
        """Do nothing: the gateway closes every agent of the chain directly."""


def may_fall_back(step: FallbackStep, failure: VoicegwError) -> bool:
    """Whether another attempt may follow this failure, which came before any output."""
    return step.idempotent or isinstance(failure, AgentUnavailable)


class FallbackAttempt:
    """One run of a chain, whose events go to `sink`. The constructor starts it.

    `run` is that run. `position` counts the events of its log that were taken.
    """

    def __init__(self, run: Run, sink: EventSink) -> None:
        self.run = run
        self.sink = sink
        self.position = 0
        # Whether every event is passed on; before, only `REASONING` is: another attempt may still follow.
        self._forwards = False
        # Done when the attempt has produced output, or has ended.
        self._waiter: asyncio.Future[None] | None = None
        run.subscribers.append(self)
        run.start()

    def wake(self) -> None:
        """Pass new events on, or end the wait; the run calls this."""
        is_over = self.run.event_log.has_ended
        if self._forwards:
            is_over = not self._pass_all_on() or is_over
        elif self.run.has_output:
            is_over = True
        else:
            self._pass_reasoning_on()
        if is_over and self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    @property
    def failure(self) -> VoicegwError | None:
        """The error with which the run failed; None while it is active and after a good end."""
        return self.run.event_log.failure

    async def wait_for_output(self) -> None:
        """Wait until the run has produced output or has ended. Meanwhile, pass its reasoning on, once."""
        if not (self.run.has_output or self.run.event_log.has_ended):
            await self._wait()

    async def forward(self) -> None:
        """Pass every event on, until the run ends or the sink takes no more."""
        self._forwards = True
        if self._pass_all_on() and not self.run.event_log.has_ended:
            await self._wait()

    async def _wait(self) -> None:
        self._waiter = self.run.loop.create_future()
        await self._waiter

    def _pass_reasoning_on(self) -> None:
        """Pass `REASONING` on and drop other events: none of them is output."""
        events = self.run.event_log.events[self.position :]
        self.position += len(events)
        if REASONING in events:
            self.sink.push(REASONING)
            self.sink.flush()

    def _pass_all_on(self) -> bool:
        """Pass the new events on. Return False if the sink takes no more."""
        events = self.run.event_log.events
        while self.position < len(events):
            self.position += 1
            if not self.sink.push(events[self.position - 1]):
                return False
        self.sink.flush()
        return True

    async def close(self) -> None:
        """Cancel a run that has not ended and wait up to `SUPERSEDE_WAIT` seconds for its agent.

        An agent that takes longer stops in its own task, and stays in `active_runs` until it has.
        """
        task = self.run.task
        if not self.run.event_log.has_ended:
            self.run.cancel()
            if task is not None:
                await asyncio.wait((task,), timeout=SUPERSEDE_WAIT)
