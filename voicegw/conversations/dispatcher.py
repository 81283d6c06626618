"""The dispatcher: every turn becomes a run, joins one, or supersedes one.

It owns the runs: a run starts here, is left here by those who listened, and stays here until its
agent's generator is closed, however long that takes.
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


def is_same(one: Turn, other: Turn) -> bool:
    """Are these the same turn, asked twice?"""
    return one.kind == other.kind and one.messages == other.messages


def is_earlier(one: Turn, other: Turn) -> bool:
    """Was `one` asked before `other`? Then what `other` says goes on where it ends."""
    return len(one.messages) < len(other.messages) and other.messages[: len(one.messages)] == one.messages


class Dispatcher:
    """The live runs of all agents. `now` is the clock of every stamp, in seconds.

    `most` bounds the runs that are owned, with those whose agents were told to stop and have not yet.
    """

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
        self.agents = agents
        self.stop_timeout = stop_timeout
        self.disconnect_grace = disconnect_grace
        self.replay_window = replay_window
        self.calls = CallStore() if calls is None else calls  # an empty one is false
        self.max_runs = max_runs
        self.now = now
        self.runs: set[Run] = set()
        self.draining = False
        self._tagged: dict[tuple[str, str, bytes], Run] = {}
        self._ids = secrets.token_hex(6)
        self._count = 0
        self._errands: set[asyncio.Future[None]] = set()
        self.calls.on_call_ended = self._gone

    def new_turn_id(self) -> str:
        """A new id, unique among all workers: a random prefix and a counter."""
        self._count += 1
        return f"{self._ids}{self._count:06x}"

    def dispatch(
        self,
        line: ServedAgent,
        turn: Turn,
        *,
        fingerprint: bytes = b"",
        retried: bool = False,
        background: bool = False,
        live: bool = False,
    ) -> Run:
        """The run for this turn: the one that is at it already, or a new one, owned from now on.

        A new run starts when its listener's first chunk is out. A client that says it has `retried` gets
        the answer to its first try; among requests without a call, only such ones are joined, by the
        `fingerprint` of what was sent. A request `aside` joins its like but supersedes no other turn. On a
        `live` socket nothing comes late.
        """
        if self.draining:
            raise ServiceUnavailable("The gateway is shutting down.", retry_after=1.0)
        if background:
            turn = replace(turn, background=True)
        if turn.call is None:
            return self._anonymous(line, turn, fingerprint, retried)
        call = self.calls.get(turn.call, self.now())
        newest = call.run
        for like in [newest, *call.background_runs] if background else [newest]:
            if like is None or like.is_speech != (line.speech_filters is not None):
                continue  # what was made for ears is not for programs
            if is_same(like.turn, turn) and self._reusable(like, retried):
                return like
        if (
            newest is not None
            and not (background or live)
            and is_earlier(turn, newest.turn)
            and self._fresh(newest)
        ):
            return self._ended(line, turn)
        run = self._new(line, turn)
        if background:
            call.add_background(run)
        else:
            call.start_run(run)
            self.calls.weigh(call)
            run.earlier_closing = tuple(call.closing)
        return run

    def _new(self, line: ServedAgent, turn: Turn) -> Run:
        if len(self.runs) >= self.max_runs:
            raise TooManyRequests(
                "Too many agents have not stopped yet: try again in a second.", retry_after=1.0
            )
        run = Run(
            line.agent,
            turn,
            self._closed,
            now=self.now,
            timeouts=line.timeouts,
            speech=line.speech_filter(turn.language),
            max_hold_seconds=line.max_hold_seconds,
        )
        self.runs.add(run)
        return run

    def _anonymous(self, line: ServedAgent, turn: Turn, fingerprint: bytes, retried: bool) -> Run:
        """A run of its own, unless this is a retry of one that still runs."""
        tag = (turn.tenant, line.name, fingerprint)
        found = self._tagged.get(tag) if retried else None
        if found is not None and not found.event_log.ended:
            return found
        run = self._new(line, turn)
        if fingerprint:
            run.retry_key = tag
            self._tagged[tag] = run
        return run

    def _reusable(self, run: Run, retried: bool) -> bool:
        """May the same turn, asked again, be answered by this run? While it runs; soon after, if nobody
        heard it to its end; later the caller truly asks again, and so does who was told to try again."""
        if not run.event_log.ended:
            return True
        failure = run.event_log.failure
        if run.cancelled_at is not None or (failure is not None and failure.retryable):
            return False
        return self._fresh(run) and (retried or not run.delivered)

    def _fresh(self, run: Run) -> bool:
        """Does it still run, or did it until a moment ago? Later, what looks like its retry is a new wish."""
        return run.closed_at is None or self.now() - run.closed_at <= self.replay_window

    def _ended(self, line: ServedAgent, turn: Turn) -> Run:
        """A run without any work, for a turn that is long past: its stream ends at once and well-formed."""
        run = self._new(line, turn)
        run.cancel()
        return run

    def unsubscribe(self, run: Run, follower: Subscriber) -> None:
        """A listener is gone; the last one takes the run with it, unless another comes within `grace`."""
        run.subscribers.remove(follower)
        if run.subscribers or run.event_log.ended:
            return
        if self.disconnect_grace:
            run.left_at = self.now()
            run.loop.call_later(self.disconnect_grace, self._expire, run, run.left_at)
        else:
            run.cancel()

    def _expire(self, run: Run, left: float) -> None:
        """The grace is over, unless somebody came, even if they left again later."""
        if run.left_at == left and not run.subscribers and not run.event_log.ended:
            run.cancel()

    def _closed(self, run: Run) -> None:
        self.runs.discard(run)
        if self._tagged.get(run.retry_key) is run:
            del self._tagged[run.retry_key]

    def warm_agent(self, line: ServedAgent, call: str) -> None:
        """A call opened: let its agent get ready, without waiting for it."""
        self._send(line.agent.warm(call))

    def _gone(self, call: str) -> None:
        """A call is over: whoever keeps something for it may let go."""
        for line in self.agents.agents.values():
            self._send(line.agent.call_ended(call))

    def _send(self, errand: Coroutine[Any, Any, None]) -> None:
        """Have something done that nobody waits for."""
        task = asyncio.ensure_future(errand)
        self._errands.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Future[None]) -> None:
        self._errands.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.info("an agent could not be told of a call: %s", type(error).__name__)

    def drain(self) -> None:
        """No new turns from now on; running ones may finish."""
        self.draining = True

    def stop_all(self) -> None:
        """End every running turn with a spoken word of farewell."""
        for run in tuple(self.runs):
            run.fail(ShuttingDown())

    async def aclose(self) -> None:
        """Cancel what still runs and wait for the agents to close, as long as `stop_within`."""
        self.drain()
        self.stop_all()
        for errand in self._errands:
            errand.cancel()
        tasks = [run.task for run in self.runs if run.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=self.stop_timeout)
        for run in self.runs:
            log.warning("turn %s: the agent did not close in time", run.turn.id)
