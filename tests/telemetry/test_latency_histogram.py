"""The quick histogram exposes the same lines as the library's."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from voicegw.telemetry.latency_histogram import LatencyHistogram

BOUNDS = (0.001, 0.25, 1.0, 10.0)
TEXT = "How long it took."


def lines(registry: CollectorRegistry) -> list[str]:
    text = generate_latest(registry).decode()
    return [line for line in text.splitlines() if "_created" not in line]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["desk", 'a "b"']), st.sampled_from([0.0, 0.001, 0.25, 0.3, 1.0, 10.5, 99.0])
        )
    )
)
def test_lines_are_those_of_the_library(observed: list[tuple[str, float]]) -> None:
    registry, other = CollectorRegistry(), CollectorRegistry()
    quick = LatencyHistogram("voicegw_test_seconds", TEXT, "agent", BOUNDS, registry)
    library = Histogram("voicegw_test_seconds", TEXT, ["agent"], registry=other, buckets=BOUNDS)
    for agent, seconds in observed:
        quick.labels(agent).observe(seconds)
        library.labels(agent).observe(seconds)
    assert lines(registry) == lines(other)
