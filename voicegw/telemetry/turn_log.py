"""The turn log: one JSON line for every turn, call and refused request, counted in the metrics.

It never holds message text, keys or phone numbers. docs/deploy.md lists the fields.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Mapping

import orjson

from voicegw.errors import AgentError, VoicegwError
from voicegw.telemetry.metrics import Metrics
from voicegw.telemetry.record import TurnRecord
from voicegw.telemetry.resources import ResourceMonitor
from voicegw.telemetry.writer import TelemetryWriter
from voicegw.turns.run import Run
from voicegw.turns.timings import CallTimings, TurnTimings, as_log_record, to_milliseconds
from voicegw.wire.json import dumps

log = logging.getLogger("voicegw.access")

NO_FAILURE: Mapping[str, str | None] = {"error": None}
"""The log fields of a turn that did not fail."""


class TurnLog:
    """Writes a JSON log line for every turn, call and refused request, and counts them in `metrics`."""

    def __init__(
        self,
        metrics: Metrics | None = None,
        *,
        log_turns: bool = True,
        log_errors: bool = False,
        writer: TelemetryWriter | None = None,
    ) -> None:
        # Counts the turns, calls and refused requests.
        self.metrics = Metrics() if metrics is None else metrics
        # Which resources of the system ran out, as failures of turns show.
        self.resources = ResourceMonitor(self.metrics)
        # False: turns and calls are only counted.
        self.log_turns = log_turns
        # True: lines hold the words of agents and their servers about failures, which may be callers' words.
        self.log_errors = log_errors
        # Its thread encodes and counts the turns; None does so at once.
        self.writer = writer

    def record_turn(self, run: Run, timings: TurnTimings, agent: str, request_id: str) -> None:
        """Log and count a turn after its stream ended and its agent closed, or did not close in time.

        The times of the cancellation and of the agent's end are written into `timings`.
        """
        timings.cancelled_at, timings.agent_closed_at = run.cancelled_at, run.closed_at
        if timings.ended_at is None and run.cancelled_at is not None:
            timings.mark_audible(run.cancelled_at)  # the silence before the caller left counts as a gap
        turn = run.turn
        record = TurnRecord(
            agent,
            _outcome(run, timings),
            timings,
            run.requested_at,
            run.first_token_at,
            {"turn": turn.id, "request": request_id, "agent": agent, "key": turn.tenant, "call": turn.call},
            self._failure_fields(run.event_log.failure),
        )
        if self.writer is None:
            self._write_turn(record)
        else:
            self.writer.submit("record", lambda: self._write_turn(record))

    def _write_turn(self, turn: TurnRecord) -> None:
        """Count a turn and write its line; in the writer's thread if there is one."""
        self.metrics.observe_turn(turn)
        if self.log_turns:
            fields = as_log_record(turn.timings, **turn.names, outcome=turn.outcome, **turn.failure)
            log.info(dumps(fields).decode())  # a quote may hold a lone surrogate, which orjson rejects

    def record_call(self, timings: CallTimings, platform: str, agent: str, call: str, name: str) -> None:
        """Log and count a call whose socket is closed. `name` is the platform's identifier of the call."""
        self.metrics.calls.labels(platform).inc()
        if self.log_turns:
            record = {
                "event": "call",
                "platform": platform,
                "agent": agent,
                "call": call,
                "name": name,
                "seconds": round((timings.ended_at or timings.opened_at) - timings.opened_at, 3),
                "turns": timings.turn_count,
                "interruptions": timings.interruption_count,
                "gap_ms": to_milliseconds(timings.longest_gap),
            }
            log.info(orjson.dumps(record).decode())

    def _failure_fields(self, failure: VoicegwError | None) -> Mapping[str, str | None]:
        """Return the log fields of a failure. Words of the agent are among them only with `log_errors`."""
        if failure is None:
            return NO_FAILURE
        self.resources.report_failure(failure)
        fields: dict[str, str | None] = {"error": type(failure).__name__}
        if isinstance(failure, AgentError):
            fields["why"] = failure.summary
            if self.log_errors:
                cause = failure.__cause__
                fields["quote"] = failure.quote
                fields["trace"] = "".join(traceback.format_exception(cause)) if cause else None
        return fields

    def record_refusal(self, failure: VoicegwError, request_id: str, client: str) -> None:
        """Log and count a request that the gateway refused. `client` is its IP address."""
        self.metrics.refusals.labels(str(failure.status)).inc()
        record = {"event": "refusal", "status": failure.status, "error": type(failure).__name__}
        log.info(orjson.dumps({**record, "request": request_id, "client": client}).decode())


def _outcome(run: Run, timings: TurnTimings) -> str:
    if run.event_log.failure is not None:
        return "failed"
    if run.cancelled_at is not None and timings.ended_at is not None:
        return "superseded"
    return "answered" if timings.ended_at is not None else "cancelled"
