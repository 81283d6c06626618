"""The dispatcher: finds or starts the run that answers a turn, and owns every run until it is closed.

`voicegw.conversations.turn_relation` decides what a turn means to the runs of its call. A run starts here,
loses its subscribers here, and stays here until its agent's generator is closed, however long that takes.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from functools import partial
from typing import Any

from voicegw.conversations.agent_registry import AgentRegistry
from voicegw.conversations.call_record import CallRecord
from voicegw.conversations.call_store import CallStore
from voicegw.conversations.idempotency import IdempotencyKey, IdempotentRuns, KeyClaims
from voicegw.conversations.replay_window import ReplayWindow
from voicegw.conversations.turn_relation import (
    Client,
    RunState,
    TurnRelation,
    digest_of_options,
    relate,
)
from voicegw.errors import ServiceUnavailable, ShuttingDown, TooManyRequests
from voicegw.events import Turn
from voicegw.turns.bulkhead import Bulkhead
from voicegw.turns.run import Run, Subscriber
from voicegw.turns.served_agent import ServedAgent, Voice

log = logging.getLogger("voicegw.error")

REUSING = frozenset({TurnRelation.JOIN, TurnRelation.REPLAY})
"""The relations in which the known run answers the turn."""
EVICTION_PAUSE = 0.05
"""Seconds between two steps in which idle calls are forgotten: each may start tasks of agents."""
REUSABLE_STATES = frozenset({RunState.RUNNING, RunState.UNDELIVERED, RunState.DELIVERED})
"""The states in which a run answers a repetition of its request."""


class Dispatcher:
    """The live runs of all agents of this process."""

    def __init__(
        self,
        agents: AgentRegistry,
        *,
        stop_timeout: float = 0.25,
        disconnect_grace: float = 0.0,
        replay_window: float = 10.0,
        calls: CallStore | None = None,
        key_claims: KeyClaims | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        # The agents that answer.
        self.agents = agents
        # Seconds that `aclose` waits for agents to close. Callers wait as long before they log a turn.
        self.stop_timeout = stop_timeout
        # Seconds that a run without subscribers goes on. 0 cancels it at once.
        self.disconnect_grace = disconnect_grace
        # Seconds after a run's end in which it still answers the same turn again.
        self.replay_window = replay_window
        # The calls that are remembered. An empty store is false, hence the comparison with None.
        self.calls = CallStore() if calls is None else calls
        # The clock of all times, in seconds.
        self.now = now
        # All runs whose agents are not closed yet.
        self.runs: set[Run] = set()
        # True from `drain` on: new turns are refused.
        self.is_draining = False
        # The runs of requests with an `Idempotency-Key`, until `replay_window` after their end.
        self.idempotent_runs = IdempotentRuns(claims=key_claims)
        # Turn ids are a prefix, random for each process, and a counter.
        self._id_prefix = secrets.token_hex(6)
        self._turn_count = 0
        # Tasks that notify agents of a call that begins or ends. The set protects them from garbage
        # collection.
        self._agent_tasks: set[asyncio.Future[None]] = set()
        # The timer that forgets idle calls where no turn does; None while no call is remembered.
        self._idle_timer: asyncio.TimerHandle | None = None
        # The closed runs that may still answer a repeated request.
        self._closed_runs = ReplayWindow(replay_window, now, self._forget_run)
        self.calls.on_call_ended = self._on_call_ended

    def new_turn_id(self) -> str:
        """Return a new id, unique among all workers."""
        self._turn_count += 1
        return f"{self._id_prefix}{self._turn_count:06x}"

    def dispatch(
        self,
        served_agent: ServedAgent,
        turn: Turn,
        *,
        client: Client = Client.VOICE,
        is_retry: bool = False,
        idempotency_key: IdempotencyKey | None = None,
        voice: Voice | None = None,
    ) -> Run:
        """Return the run that answers a turn: one that already does, or a new one.

        A new run does not start here: it starts after the first chunk of the response. `is_retry`: the client
        says that it repeats its request. A turn without a call joins a run only by its `idempotency_key`.
        `voice`: the language of the speech; None for the caller's.

        Raise `ServiceUnavailable` while the gateway drains, `TooManyRequests` if the agent's bulkhead is
        full, and `UnprocessableContent` for the `idempotency_key` of another request.
        """
        if self.is_draining:
            raise ServiceUnavailable("The gateway is shutting down.", retry_after=1.0)
        start = partial(self._dispatch_turn, served_agent, turn, client, is_retry, voice)
        if idempotency_key is None:
            return start()
        runs, now = self.idempotent_runs, self.now()
        return runs.get_or_start(
            turn.tenant,
            idempotency_key,
            start,
            self._is_reusable,
            now=now,
            window_ends=now + self.replay_window,
        )

    def _is_reusable(self, run: Run) -> bool:
        return self._state(run) in REUSABLE_STATES

    def _dispatch_turn(
        self, served_agent: ServedAgent, turn: Turn, client: Client, is_retry: bool, voice: Voice | None
    ) -> Run:
        """Return the run for a turn. In a call, a newer turn supersedes the run of the older one."""
        if turn.call is None:
            return self._new_run(served_agent, turn, voice, in_background=client is Client.PROGRAM)
        call, is_spoken = self.calls.get(turn.call, self.now()), served_agent.speech_filters is not None
        if self._idle_timer is None:
            self._forget_idle_calls()
        for known in call.background_runs:
            if self._relate(turn, known, client, is_retry, is_spoken) in REUSING:
                return known
        relation = TurnRelation.PARALLEL if client is Client.PROGRAM else TurnRelation.NEW_RUN
        if call.run is not None:
            relation = self._relate(turn, call.run, client, is_retry, is_spoken)
            if relation in REUSING:
                return call.run
        return self._new_run_in_call(served_agent, turn, call, relation, voice)

    def _relate(
        self, turn: Turn, known: Run, client: Client, is_retry: bool, is_spoken: bool
    ) -> TurnRelation:
        """Return what a turn means to a known run. `is_spoken`: the turn wants the text as speech."""
        has_same_form = known.has_speech_filter == is_spoken
        state = self._state(known)
        return relate(
            turn,
            known.turn,
            state,
            client,
            is_retry=is_retry,
            has_same_form=has_same_form,
            known_options=known.options_digest,
        )

    def _new_run_in_call(
        self,
        served_agent: ServedAgent,
        turn: Turn,
        call: CallRecord,
        relation: TurnRelation,
        voice: Voice | None,
    ) -> Run:
        """Return a new run that stands in this relation to the newest run of the call."""
        is_parallel = relation is TurnRelation.PARALLEL
        run = self._new_run(served_agent, turn, voice, in_background=is_parallel)
        if is_parallel:
            call.add_background(run)
        elif relation is TurnRelation.OLD:
            run.cancel()  # it never starts: its response ends at once, well-formed
        else:
            call.start_run(run)
            run.earlier_runs = tuple(call.closing_runs)
        return run

    def _new_run(
        self, served_agent: ServedAgent, turn: Turn, voice: Voice | None, *, in_background: bool
    ) -> Run:
        """Create a run and add it to `runs`. Raise `TooManyRequests` if the agent's bulkhead is full."""
        bulkhead = served_agent.bulkhead
        if not bulkhead.acquire():
            raise TooManyRequests(
                f"{bulkhead.max_runs} turns of the agent '{served_agent.name}' have not ended, the most "
                "allowed: try again in a second.",
                retry_after=1.0,
            )
        run = Run(
            served_agent.agent,
            replace(turn, background=True) if in_background else turn,
            partial(self._on_run_closed, bulkhead),
            now=self.now,
            timeouts=served_agent.timeouts,
            speech_filter=served_agent.speech_filter(turn.language if voice is None else voice.language),
            max_hold_seconds=served_agent.max_hold_seconds,
            options_after=None if voice is None else partial(served_agent.options_after, voice),
        )
        self.runs.add(run)
        return run

    def _state(self, run: Run) -> RunState:
        """Return the state of a run for a request that may mean the same turn."""
        if not run.event_log.has_ended:
            return RunState.RUNNING
        if run.closed_at is not None and self.now() - run.closed_at > self.replay_window:
            return RunState.EXPIRED
        failure = run.event_log.failure
        if run.cancelled_at is not None or (failure is not None and failure.retryable):
            return RunState.UNUSABLE
        return RunState.DELIVERED if run.was_delivered else RunState.UNDELIVERED

    def unsubscribe(self, run: Run, subscriber: Subscriber) -> None:
        """Remove a subscriber from a run.

        Without any subscriber left, the run is cancelled, at once or after `disconnect_grace` seconds unless
        another one subscribes before.
        """
        run.subscribers.remove(subscriber)
        if run.subscribers or run.event_log.has_ended:
            return
        if self.disconnect_grace:
            run.unsubscribed_at = self.now()
            run.loop.call_later(self.disconnect_grace, self._on_grace_expired, run, run.unsubscribed_at)
        else:
            run.cancel()

    def _on_grace_expired(self, run: Run, unsubscribed_at: float) -> None:
        """Cancel the run, unless another subscriber came in the meantime, even if that one left too."""
        if run.unsubscribed_at == unsubscribed_at and not run.subscribers and not run.event_log.has_ended:
            run.cancel()

    def _on_run_closed(self, bulkhead: Bulkhead, run: Run) -> None:
        bulkhead.release()
        self.runs.discard(run)
        turn = run.turn
        if turn.call is None and not run.idempotency_keys:
            return
        if turn.tools or turn.options or turn.extra:
            run.options_digest = digest_of_options(turn)
            run.turn = replace(turn, tools=(), tool_choice=None, options={}, extra={})
        self.idempotent_runs.on_run_closed(run, self.now() + self.replay_window)
        if turn.call is not None:
            self.calls.on_run_closed(turn.call, self.now())
        self._closed_runs.add(run)

    def _forget_run(self, run: Run) -> None:
        """Forget a run whose replay window is over."""
        self.idempotent_runs.remove(run)
        if run.turn.call is not None:
            self.calls.forget_run(run.turn.call, run, self.now())

    def _forget_idle_calls(self) -> None:
        """Forget calls that were idle too long, some at a time, and set the timer for the others."""
        delay = EVICTION_PAUSE if self.calls.evict(self.now()) else self.calls.idle_timeout
        loop = asyncio.get_running_loop()
        self._idle_timer = loop.call_later(delay, self._forget_idle_calls) if len(self.calls) else None

    def warm_agent(self, served_agent: ServedAgent, call: str) -> None:
        """Start the agent's preparation for a call that begins. Returns at once; a failure is logged."""
        self._start_agent_task(served_agent.agent.warm(call))

    def _on_call_ended(self, call: str) -> None:
        """Notify every agent that a call is over, so that it releases the call's resources."""
        for served_agent in self.agents.by_name.values():
            self._start_agent_task(served_agent.agent.call_ended(call))

    def _start_agent_task(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(coroutine)
        self._agent_tasks.add(task)
        task.add_done_callback(self._on_agent_task_done)

    def _on_agent_task_done(self, task: asyncio.Future[None]) -> None:
        self._agent_tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.info("an agent failed to prepare for a call or to end one: %s", type(error).__name__)

    def drain(self) -> None:
        """Refuse new turns from now on. Running ones may finish."""
        self.is_draining = True

    def stop_all(self) -> None:
        """End every run with `ShuttingDown`, which its caller hears as a sentence."""
        for run in tuple(self.runs):
            run.fail(ShuttingDown())

    async def aclose(self) -> None:
        """Drain, stop all runs, and wait at most `stop_timeout` seconds for their agents to close.

        A warning is logged for each agent that is still open then.
        """
        self.drain()
        self.stop_all()
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        for task in self._agent_tasks:
            task.cancel()
        tasks = [run.task for run in self.runs if run.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=self.stop_timeout)
        for run in self.runs:
            log.warning("turn %s: the agent did not close in time", run.turn.id)
