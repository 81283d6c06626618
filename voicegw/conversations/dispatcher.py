"""The dispatcher: finds or starts the run that answers a turn, and owns every run until it is closed.

A turn joins a run, replays one, supersedes one, or gets a new one. A run starts here, loses its subscribers
here, and stays here until its agent's generator is closed, however long that takes.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

from voicegw.conversations.agent_registry import AgentRegistry
from voicegw.conversations.call_store import CallStore
from voicegw.errors import ServiceUnavailable, ShuttingDown, TooManyRequests
from voicegw.events import Turn
from voicegw.turns.run import Run, Subscriber
from voicegw.turns.served_agent import ServedAgent

log = logging.getLogger("voicegw.error")


def is_same_turn(one: Turn, other: Turn) -> bool:
    """Are these the same turn: the same kind and the same messages?"""
    return one.kind == other.kind and one.messages == other.messages


def is_earlier_turn(one: Turn, other: Turn) -> bool:
    """Does the history of `other` continue that of `one`?"""
    return len(one.messages) < len(other.messages) and other.messages[: len(one.messages)] == one.messages


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
        max_runs: int = 2000,
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
        # Limit of `runs`. Runs whose agents were cancelled but have not closed yet count too.
        self.max_runs = max_runs
        # The clock of all times, in seconds.
        self.now = now
        # All runs whose agents are not closed yet.
        self.runs: set[Run] = set()
        # True from `drain` on: new turns are refused.
        self.is_draining = False
        # Runs without a call that a retry may join, by (tenant, agent, fingerprint).
        self._runs_by_retry_key: dict[tuple[str, str, bytes], Run] = {}
        # Turn ids are a prefix, random for each process, and a counter.
        self._id_prefix = secrets.token_hex(6)
        self._turn_count = 0
        # Tasks that notify agents of a call that begins or ends. The set protects them from garbage
        # collection.
        self._agent_tasks: set[asyncio.Future[None]] = set()
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
        fingerprint: bytes = b"",
        is_retry: bool = False,
        background: bool = False,
        in_order: bool = False,
    ) -> Run:
        """Return the run that answers a turn: one that already does, or a new one.

        A new run does not start here: it starts after the first chunk of the response. A newer turn of a call
        supersedes the older one; a late retry of an earlier turn gets a run that ended without any work.

        `is_retry`: the client says that it repeats its request, so it gets the answer to its first try. Only
        such a turn joins a run without a call, the one of the same `fingerprint` (a digest of the request).
        `background`: the turn may join an identical one but supersedes none. `in_order`: the turn comes from
        a socket, where no late retry of an earlier turn can arrive.

        Raise `ServiceUnavailable` while the gateway drains, and `TooManyRequests` at `max_runs`.
        """
        if self.is_draining:
            raise ServiceUnavailable("The gateway is shutting down.", retry_after=1.0)
        if background:
            turn = replace(turn, background=True)
        if turn.call is None:
            return self._dispatch_anonymous(served_agent, turn, fingerprint, is_retry)
        call = self.calls.get(turn.call, self.now())
        newest = call.run
        for known in [newest, *call.background_runs] if background else [newest]:
            if known is None or known.has_speech_filter != (served_agent.speech_filters is not None):
                continue  # a program must not get text that was filtered for speech, nor a caller raw text
            if is_same_turn(known.turn, turn) and self._is_reusable(known, is_retry):
                return known
        if (
            newest is not None
            and not (background or in_order)
            and is_earlier_turn(turn, newest.turn)
            and self._is_recent(newest)
        ):
            return self._new_ended_run(served_agent, turn)
        run = self._new_run(served_agent, turn)
        if background:
            call.add_background(run)
        else:
            call.start_run(run)
            self.calls.update_char_count(call)
            run.earlier_runs = tuple(call.closing_runs)
        return run

    def _new_run(self, served_agent: ServedAgent, turn: Turn) -> Run:
        """Create a run and add it to `runs`. Raise `TooManyRequests` at `max_runs`."""
        if len(self.runs) >= self.max_runs:
            raise TooManyRequests(
                "Too many agents have not stopped yet: try again in a second.", retry_after=1.0
            )
        run = Run(
            served_agent.agent,
            turn,
            self._on_run_closed,
            now=self.now,
            timeouts=served_agent.timeouts,
            speech_filter=served_agent.speech_filter(turn.language),
            max_hold_seconds=served_agent.max_hold_seconds,
        )
        self.runs.add(run)
        return run

    def _dispatch_anonymous(
        self, served_agent: ServedAgent, turn: Turn, fingerprint: bytes, is_retry: bool
    ) -> Run:
        """Return a new run, or for a retry the run of its first try if that still runs."""
        retry_key = (turn.tenant, served_agent.name, fingerprint)
        known = self._runs_by_retry_key.get(retry_key) if is_retry else None
        if known is not None and not known.event_log.has_ended:
            return known
        run = self._new_run(served_agent, turn)
        if fingerprint:
            run.retry_key = retry_key
            self._runs_by_retry_key[retry_key] = run
        return run

    def _is_reusable(self, run: Run, is_retry: bool) -> bool:
        """Return whether this run may answer the same turn again.

        True while it runs. False if it was cancelled, or if its failure is retryable. After its end, True
        within `replay_window` if the turn is a retry, or if no client got the whole answer; otherwise the
        caller repeats the question.
        """
        if not run.event_log.has_ended:
            return True
        failure = run.event_log.failure
        if run.cancelled_at is not None or (failure is not None and failure.retryable):
            return False
        return self._is_recent(run) and (is_retry or not run.was_delivered)

    def _is_recent(self, run: Run) -> bool:
        """Is the run open, or closed for at most `replay_window` seconds? A later repetition is new."""
        return run.closed_at is None or self.now() - run.closed_at <= self.replay_window

    def _new_ended_run(self, served_agent: ServedAgent, turn: Turn) -> Run:
        """Return a run that never starts, for a late retry: its response ends at once, well-formed."""
        run = self._new_run(served_agent, turn)
        run.cancel()
        return run

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

    def _on_run_closed(self, run: Run) -> None:
        self.runs.discard(run)
        if self._runs_by_retry_key.get(run.retry_key) is run:
            del self._runs_by_retry_key[run.retry_key]

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
        for task in self._agent_tasks:
            task.cancel()
        tasks = [run.task for run in self.runs if run.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=self.stop_timeout)
        for run in self.runs:
            log.warning("turn %s: the agent did not close in time", run.turn.id)
