"""The turn log: every turn, call and refusal as one JSON log line, counted in the metrics."""

from __future__ import annotations

import logging
import traceback

import orjson

from voicegw.errors import AgentError, VoicegwError
from voicegw.telemetry.metrics import Metrics
from voicegw.turns.run import Run
from voicegw.turns.timings import CallTimings, TurnTimings, as_log_record, milliseconds
from voicegw.wire.json import dumps

log = logging.getLogger("voicegw.access")


class TurnLog:
    """Writes a JSON log line for every turn, call and refusal, and counts them in `metrics`.

    Without `log_turns`, turns and calls are only counted. `log_errors` adds what agents, and the servers
    behind them, said about their failures; that may hold callers' words.
    """

    def __init__(
        self, metrics: Metrics | None = None, *, log_turns: bool = True, log_errors: bool = False
    ) -> None:
        self.metrics = Metrics() if metrics is None else metrics
        self.log_turns = log_turns
        self.log_errors = log_errors

    def turn(self, run: Run, stamps: TurnTimings, agent: str, request: str) -> None:
        """A turn is over for its listener, and the agent is closed (or was waited for long enough)."""
        stamps.cancelled, stamps.agent_closed = run.cancelled_at, run.closed_at
        if stamps.ended is None and run.cancelled_at is not None:
            stamps.mark_audible(run.cancelled_at)  # the silence in which the caller left counts too
        outcome = _outcome(run, stamps)
        self.metrics.turn(run, stamps, agent, outcome)
        if self.log_turns:
            turn = run.turn
            who = {"request": request, "agent": agent, "key": turn.tenant, "call": turn.call}
            failed = self._failure(run.event_log.failure)
            told = as_log_record(stamps, turn=turn.id, **who, outcome=outcome, **failed)
            log.info(dumps(told).decode())  # what others said may hold half an emoji

    def call(self, stamps: CallTimings, platform: str, agent: str, call: str, name: str) -> None:
        """A call's socket is closed. `name` is what the platform calls the call."""
        self.metrics.calls.labels(platform).inc()
        if self.log_turns:
            seconds = round((stamps.ended or stamps.opened) - stamps.opened, 3)
            told = {"event": "call", "platform": platform, "agent": agent, "call": call, "name": name}
            happened = {"seconds": seconds, "turns": stamps.turns, "interruptions": stamps.interruptions}
            log.info(orjson.dumps({**told, **happened, "gap_ms": milliseconds(stamps.longest_gap)}).decode())

    def _failure(self, failure: VoicegwError | None) -> dict[str, str | None]:
        """What is told of a failure; what others said about it only if that was asked for."""
        if failure is None:
            return {"error": None}
        told: dict[str, str | None] = {"error": type(failure).__name__}
        if isinstance(failure, AgentError):
            told["why"] = failure.summary
            if self.log_errors:
                told["quote"] = failure.quote
                told["trace"] = (
                    "".join(traceback.format_exception(failure.__cause__)) if failure.__cause__ else None
                )
        return told

    def refusal(self, failure: VoicegwError, request: str, client: str) -> None:
        """A request was turned away."""
        self.metrics.refusals.labels(str(failure.status)).inc()
        facts = {"event": "refusal", "status": failure.status, "error": type(failure).__name__}
        log.info(orjson.dumps({**facts, "request": request, "client": client}).decode())


def _outcome(run: Run, stamps: TurnTimings) -> str:
    if run.event_log.failure is not None:
        return "failed"
    if run.cancelled_at is not None and stamps.ended is not None:
        return "superseded"
    return "answered" if stamps.ended is not None else "cancelled"
