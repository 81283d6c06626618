"""Prometheus metrics: turns, refusals, calls, and the latencies of every turn.

Names follow the OpenTelemetry conventions for generative AI where they have one: towards the platform the
gateway is a server, towards the agent a client, and its overhead is their difference.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, exposition, multiprocess

from voicegw.turns.run import Run
from voicegw.turns.timings import TurnTimings

BUCKETS = (
    *(0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 7.5, 10.0, 15.0, 30.0, 60.0),
)
"""Seconds. Fine below 10 ms, where our own share lies."""
SPANS: Mapping[str, tuple[str, Callable[[Run, TurnTimings], float | None]]] = {
    "voicegw_first_chunk": (
        "Request complete to first chunk.",
        lambda run, stamps: stamps.seconds_until(stamps.first_chunk),
    ),
    "voicegw_ack": (
        "Request complete to the first words of an acknowledgement.",
        lambda run, stamps: stamps.seconds_until(stamps.first_ack),
    ),
    "gen_ai_server_time_to_first_token": (
        "Request complete to the agent's own first token, sent.",
        lambda run, stamps: stamps.seconds_until(stamps.first_token),
    ),
    "gen_ai_client_operation_time_to_first_chunk": (
        "Agent asked to its first token, received.",
        lambda run, stamps: (
            None if run.first_token_at is None or run.asked_at is None else run.first_token_at - run.asked_at
        ),
    ),
    "gen_ai_server_request_duration": (
        "Request complete to end of stream.",
        lambda run, stamps: stamps.seconds_until(stamps.ended),
    ),
    "voicegw_longest_gap": (
        "The longest silence of a turn.",
        lambda run, stamps: stamps.longest_gap,
    ),
    "voicegw_stop": (
        "Cancellation to the agent's generator closed.",
        lambda run, stamps: stamps.stop_seconds,
    ),
}
"""The histograms of each agent, in seconds: what they mean, and where the time is read."""


class Metrics:
    """Counts turns, refusals and calls, and observes the latencies of turns.

    With `shared`, several workers each count for themselves, and the sums are read.
    """

    def __init__(self, *, shared: bool = False) -> None:
        self.shared = shared
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
        self._histograms = [
            (Histogram(f"{name}_seconds", text, ["agent"], registry=registry, buckets=BUCKETS), read)
            for name, (text, read) in SPANS.items()
        ]
        self._counters: dict[tuple[str, str], Counter] = {}
        self._by_agent: dict[str, list[tuple[Histogram, Callable[[Run, TurnTimings], float | None]]]] = {}

    def turn(self, run: Run, stamps: TurnTimings, agent: str, outcome: str) -> None:
        """Count a turn that has ended, and observe its latencies."""
        counter = self._counters.get((agent, outcome))
        if counter is None:
            counter = self._counters[agent, outcome] = self.turns.labels(agent, outcome)
        counter.inc()
        for histogram, read in self._of(agent):
            seconds = read(run, stamps)
            if seconds is not None:
                histogram.observe(seconds)

    def _of(self, agent: str) -> list[tuple[Histogram, Callable[[Run, TurnTimings], float | None]]]:
        """Return an agent's own histograms, looked up once: agents are few and come from the configuration."""
        found = self._by_agent.get(agent)
        if found is None:
            found = [(histogram.labels(agent), read) for histogram, read in self._histograms]
            self._by_agent[agent] = found
        return found

    def watch(self, name: str, text: str, read: Callable[[], float]) -> None:
        """Add a gauge that calls `read` when it is scraped.

        There is none where several workers are summed: each worker knows only its own value.
        """
        if not self.shared:
            Gauge(name, text, registry=self.registry).set_function(read)

    def render(self) -> tuple[bytes, str]:
        """Return all metrics in Prometheus' text format, and the content type."""
        registry = self.registry
        if self.shared:
            registry = CollectorRegistry()
            multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return exposition.generate_latest(registry), exposition.CONTENT_TYPE_PLAIN_0_0_4
