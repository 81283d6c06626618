"""The journal: every turn and every refusal, as one JSON log line and as Prometheus metrics.

Metric names follow the OpenTelemetry conventions for generative AI where they have one: towards the
platform we are a server, towards the agent a client, and our overhead is their difference.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Mapping

import orjson
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, exposition, multiprocess

from voicegw.errors import AgentError, VoicegwError
from voicegw.run import Run
from voicegw.trace import CallStamps, Stamps, line, milliseconds
from voicegw.wire.json import dumps

BUCKETS = (
    *(0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 7.5, 10.0, 15.0, 30.0, 60.0),
)
"""Seconds. Fine below 10 ms, where our own share lies."""
SPANS: Mapping[str, tuple[str, Callable[[Run, Stamps], float | None]]] = {
    "voicegw_first_chunk": (
        "Request complete to first chunk.",
        lambda run, stamps: stamps.after(stamps.first),
    ),
    "voicegw_ack": (
        "Request complete to the first words of an acknowledgement.",
        lambda run, stamps: stamps.after(stamps.ack),
    ),
    "gen_ai_server_time_to_first_token": (
        "Request complete to the agent's own first token, sent.",
        lambda run, stamps: stamps.after(stamps.answer),
    ),
    "gen_ai_client_operation_time_to_first_chunk": (
        "Agent asked to its first token, received.",
        lambda run, stamps: None if run.first is None or run.asked is None else run.first - run.asked,
    ),
    "gen_ai_server_request_duration": (
        "Request complete to end of stream.",
        lambda run, stamps: stamps.after(stamps.ended),
    ),
    "voicegw_longest_gap": (
        "The longest silence of a turn.",
        lambda run, stamps: stamps.gap,
    ),
    "voicegw_stop": (
        "Cancellation to the agent's generator closed.",
        lambda run, stamps: stamps.stop,
    ),
}
"""The histograms of each agent, in seconds: what they mean, and where the time is read."""

log = logging.getLogger("voicegw.turns")


class Journal:
    """Writes down what happened. `shared`: several workers, whose metrics are summed when read.

    `log_errors` adds what agents, and those behind them, said about their failures.
    """

    def __init__(self, *, log_turns: bool = True, log_errors: bool = False, shared: bool = False) -> None:
        self.log_turns = log_turns
        self.log_errors = log_errors
        self.shared = shared
        self.registry = registry = CollectorRegistry()
        self.turns = Counter("voicegw_turns", "Turns ended.", ["agent", "outcome"], registry=registry)
        self.refusals = Counter("voicegw_refusals", "Requests refused.", ["status"], registry=registry)
        self.running = Gauge(
            "voicegw_turns_running", "Turns now.", registry=registry, multiprocess_mode="livesum"
        )
        self.calls = Counter("voicegw_calls", "Calls ended, by platform.", ["platform"], registry=registry)
        self.open = Gauge(
            "voicegw_calls_open", "Calls now.", ["platform"], registry=registry, multiprocess_mode="livesum"
        )
        self.spans = [
            (Histogram(f"{name}_seconds", text, ["agent"], registry=registry, buckets=BUCKETS), read)
            for name, (text, read) in SPANS.items()
        ]
        self._counts: dict[tuple[str, str], Counter] = {}
        self._bound: dict[str, list[tuple[Histogram, Callable[[Run, Stamps], float | None]]]] = {}

    def turn(self, run: Run, stamps: Stamps, agent: str, request: str) -> None:
        """A turn is over for its listener, and the agent is closed (or was waited for long enough)."""
        stamps.cancelled, stamps.stopped = run.cancelled, run.stopped
        if stamps.ended is None and run.cancelled is not None:
            stamps.speak(run.cancelled)  # the silence in which the caller left counts too
        outcome = _outcome(run, stamps)
        self._count(agent, outcome).inc()
        for histogram, read in self._of(agent):
            seconds = read(run, stamps)
            if seconds is not None:
                histogram.observe(seconds)
        if self.log_turns:
            turn = run.turn
            who = {"request": request, "agent": agent, "key": turn.tenant, "call": turn.call}
            failed = self._failure(run.record.failure)
            told = line(stamps, turn=turn.id, **who, outcome=outcome, **failed)
            log.info(dumps(told).decode())  # what others said may hold half an emoji

    def call(self, stamps: CallStamps, platform: str, agent: str, call: str, name: str) -> None:
        """A call's socket is closed. `name` is what the platform calls the call."""
        self.calls.labels(platform).inc()
        if self.log_turns:
            seconds = round((stamps.over or stamps.opened) - stamps.opened, 3)
            told = {"event": "call", "platform": platform, "agent": agent, "call": call, "name": name}
            happened = {"seconds": seconds, "turns": stamps.turns, "interruptions": stamps.interruptions}
            log.info(orjson.dumps({**told, **happened, "gap_ms": milliseconds(stamps.silence)}).decode())

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

    def _of(self, agent: str) -> list[tuple[Histogram, Callable[[Run, Stamps], float | None]]]:
        """An agent's own histograms, looked up once: agents are few, and come from the configuration."""
        found = self._bound.get(agent)
        if found is None:
            found = self._bound[agent] = [(histogram.labels(agent), read) for histogram, read in self.spans]
        return found

    def _count(self, agent: str, outcome: str) -> Counter:
        found = self._counts.get((agent, outcome))
        if found is None:
            found = self._counts[agent, outcome] = self.turns.labels(agent, outcome)
        return found

    def refusal(self, failure: VoicegwError, request: str, client: str) -> None:
        """A request was turned away."""
        self.refusals.labels(str(failure.status)).inc()
        facts = {"event": "refusal", "status": failure.status, "error": type(failure).__name__}
        log.info(orjson.dumps({**facts, "request": request, "client": client}).decode())

    def watch(self, name: str, text: str, read: Callable[[], float]) -> None:
        """A gauge that is read when it is asked for. There is none where several workers are summed: each
        knows only its own."""
        if not self.shared:
            Gauge(name, text, registry=self.registry).set_function(read)

    def render(self) -> tuple[bytes, str]:
        """All metrics for Prometheus, and their content type."""
        registry = self.registry
        if self.shared:
            registry = CollectorRegistry()
            multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return exposition.generate_latest(registry), exposition.CONTENT_TYPE_PLAIN_0_0_4


def _outcome(run: Run, stamps: Stamps) -> str:
    if run.record.failure is not None:
        return "failed"
    if run.cancelled is not None and stamps.ended is not None:
        return "superseded"
    return "answered" if stamps.ended is not None else "cancelled"
