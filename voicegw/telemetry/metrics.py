"""Prometheus metrics: turns, refused requests, calls, and the latencies of every turn.

Names follow OpenTelemetry's conventions for generative AI where there is one: the gateway is a server towards
the platform and a client towards the agent, and its overhead is the difference of the two.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TypeAlias

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, exposition, multiprocess

from voicegw.telemetry.latency_histogram import LatencyHistogram, LatencyObserver
from voicegw.telemetry.record import TurnRecord
from voicegw.telemetry.shared_metrics import SharedFiles

log = logging.getLogger("voicegw.error")

BUCKETS = (
    *(0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 7.5, 10.0, 15.0, 30.0, 60.0),
)
"""Bounds of the histograms in seconds: fine below 10 ms, where the gateway's overhead lies."""

Observer: TypeAlias = Histogram | LatencyObserver
"""Takes the latencies of one agent."""
Latency: TypeAlias = Callable[[TurnRecord], float | None]
"""Returns one latency of a turn in seconds; None if the turn has none."""
LATENCIES: Mapping[str, tuple[str, Latency]] = {
    "voicegw_first_chunk": (
        "Request complete to first chunk.",
        lambda turn: turn.timings.seconds_until(turn.timings.first_chunk_at),
    ),
    "voicegw_ack": (
        "Request complete to the first words of an acknowledgement.",
        lambda turn: turn.timings.seconds_until(turn.timings.first_ack_at),
    ),
    "gen_ai_server_time_to_first_token": (
        "Request complete to the agent's own first token, sent.",
        lambda turn: turn.timings.seconds_until(turn.timings.first_token_at),
    ),
    "gen_ai_client_operation_time_to_first_chunk": (
        "Request to the agent to its first token, received.",
        lambda turn: turn.agent_seconds,
    ),
    "gen_ai_server_request_duration": (
        "Request complete to end of stream.",
        lambda turn: turn.timings.seconds_until(turn.timings.ended_at),
    ),
    "voicegw_longest_gap": (
        "The longest silence of a turn.",
        lambda turn: turn.timings.longest_gap,
    ),
    "voicegw_stop": (
        "Cancellation to the agent's generator closed.",
        lambda turn: turn.timings.stop_seconds,
    ),
}
"""The histograms of each agent by name: the help text, and the function that reads the seconds."""


class Metrics:
    """Counts turns, refused requests and calls, and observes the latencies of turns."""

    def __init__(self, shared: SharedFiles | None = None) -> None:
        # The files of several workers, which must exist before the metrics: `render` returns the sums.
        self.shared = shared
        # All metrics of this process. The text of each metric says what it counts.
        self.registry = registry = CollectorRegistry()
        self.turns = Counter("voicegw_turns", "Turns ended.", ["agent", "outcome"], registry=registry)
        self.refusals = Counter("voicegw_refusals", "Requests refused.", ["status"], registry=registry)
        self.turns_running = Gauge(
            "voicegw_turns_running", "Turns now.", registry=registry, multiprocess_mode="livesum"
        )
        self.calls = Counter("voicegw_calls", "Calls ended, by platform.", ["platform"], registry=registry)
        self.calls_open = Gauge(
            "voicegw_calls_open", "Calls now.", ["platform"], registry=registry, multiprocess_mode="livesum"
        )
        # Log lines and records that the telemetry's thread dropped, by kind.
        self.telemetry_dropped = Counter(
            "voicegw_telemetry_dropped", "Log lines and records dropped.", ["what"], registry=registry
        )
        for kind in ("log", "record"):
            self.telemetry_dropped.labels(kind)  # both are exposed from the start, as 0
        # By resource: "files", "threads" and "ports".
        self.exhausted = Gauge(
            "voicegw_exhausted",
            "Processes that are out of a resource now.",
            ["resource"],
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.exhaustions = Counter(
            "voicegw_exhaustions", "Times that a resource ran out.", ["resource"], registry=registry
        )
        self.connections_closed = Counter(
            "voicegw_idle_connections_closed", "Connections closed for want of files.", registry=registry
        )
        # The histograms, each with the function that reads its seconds.
        self._histograms = [
            (self._make_histogram(f"{name}_seconds", text), read) for name, (text, read) in LATENCIES.items()
        ]
        # The counters by agent and outcome, and the histograms by agent: `labels` is slow, so its results
        # are cached.
        self._counters: dict[tuple[str, str], Counter] = {}
        # The gauges that a function reads, by name.
        self._gauges: dict[str, Gauge] = {}
        self._by_agent: dict[str, list[tuple[Observer, Latency]]] = {}

    def _make_histogram(self, name: str, text: str) -> Histogram | LatencyHistogram:
        """Return a histogram by agent. The library's own is slow, but several processes can share it."""
        if self.shared is not None:
            return Histogram(name, text, ["agent"], registry=self.registry, buckets=BUCKETS)
        return LatencyHistogram(name, text, "agent", BUCKETS, self.registry)

    def observe_turn(self, turn: TurnRecord) -> None:
        """Count a turn that has ended, and observe its latencies."""
        name = (turn.agent, turn.outcome)
        counter = self._counters.get(name)
        if counter is None:
            counter = self._counters[name] = self.turns.labels(*name)
        counter.inc()
        for histogram, read in self._histograms_of(turn.agent):
            seconds = read(turn)
            if seconds is not None:
                histogram.observe(seconds)

    def _histograms_of(self, agent: str) -> list[tuple[Observer, Latency]]:
        """Return the histograms of an agent. Agents are few: they come from the configuration."""
        found = self._by_agent.get(agent)
        if found is None:
            found = [(histogram.labels(agent), read) for histogram, read in self._histograms]
            self._by_agent[agent] = found
        return found

    def add_gauge(self, name: str, text: str, read: Callable[[], float]) -> None:
        """Add a gauge that calls `read` at each scrape; `text` is its help.

        With `shared`, no gauge is added: a worker knows only its own value. After a reload, the gauge shows
        the newest configuration.
        """
        if self.shared is None:
            gauge = self._gauges.get(name)
            if gauge is None:
                gauge = self._gauges[name] = Gauge(name, text, registry=self.registry)
            gauge.set_function(read)

    def restore(self) -> None:
        """Write the shared files of this process again if they are gone. Any thread may call this."""
        if self.shared is not None and self.shared.restore():
            log.warning("the metrics' files were removed from %s, and are written again", self.shared.folder)

    def render(self) -> tuple[bytes, str]:
        """Return all metrics in Prometheus' text format, and the content type."""
        registry = self.registry
        if self.shared is not None:
            self.restore()
            registry = CollectorRegistry()
            multiprocess.MultiProcessCollector(registry, path=str(self.shared.folder))  # type: ignore[no-untyped-call]
        return exposition.generate_latest(registry), exposition.CONTENT_TYPE_PLAIN_0_0_4
