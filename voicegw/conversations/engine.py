"""Opens and closes turns, over HTTP and in calls alike: limits, gauge, run, turn log."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from voicegw.conversations.dispatcher import Dispatcher
from voicegw.security.keys import ApiKey
from voicegw.security.rate_limits import RateLimiter
from voicegw.telemetry.turn_log import TurnLog
from voicegw.turns.run import Run, Subscriber
from voicegw.turns.timings import TurnTimings


@dataclass(frozen=True, slots=True)
class TurnEngine:
    """The three parts that all turns share."""

    dispatcher: Dispatcher
    """Finds or starts the run of each turn."""
    rate_limiter: RateLimiter
    """Limits the turns of each key, of each agent and of the process."""
    turn_log: TurnLog
    """Writes the access log and counts the metrics."""

    def open(
        self,
        key: ApiKey,
        agent: str,
        dispatch: Callable[[], Run],
        timings: TurnTimings,
        request_id: str,
    ) -> ActiveTurn:
        """Open a turn of this key with this agent: count it, and get its run from `dispatch`.

        `timings` begin with the request, and `request_id` names it in the log. Raise `TooManyRequests` at a
        limit, and what `dispatch` raises; then nothing is counted.
        """
        self.rate_limiter.acquire(key, agent, timings.accepted_at)
        try:
            run = dispatch()
        except BaseException:
            self.rate_limiter.release(key, agent)
            raise
        self.turn_log.metrics.turns_running.inc()
        return ActiveTurn(self, key, agent, run, timings, request_id)


@dataclass(slots=True, eq=False)
class ActiveTurn:
    """A turn from `TurnEngine.open` to `close`: one client's use of a run."""

    engine: TurnEngine
    """Counts and logs the turn."""
    key: ApiKey
    """The client's key."""
    agent: str
    """The name of the agent."""
    run: Run
    """The run that answers; other turns may share it."""
    timings: TurnTimings
    """The times as this client saw them."""
    request_id: str
    """The name of the request in the log."""

    def close(self, subscriber: Subscriber | None, *, was_delivered: bool) -> None:
        """Leave the run, and log the turn once the agent closed or `stop_timeout` is over. Call it once.

        `subscriber` is what the turn subscribed to the run, None for nothing. `was_delivered`: the client got
        the whole answer.
        """
        run, engine = self.run, self.engine
        run.was_delivered = run.was_delivered or was_delivered
        if subscriber is not None:
            engine.dispatcher.unsubscribe(run, subscriber)
        engine.rate_limiter.release(self.key, self.agent)
        engine.turn_log.metrics.turns_running.dec()
        run.on_closed(self._log, engine.dispatcher.stop_timeout)

    def _log(self) -> None:
        self.engine.turn_log.record_turn(self.run, self.timings, self.agent, self.request_id)
