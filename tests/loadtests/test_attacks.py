"""Attacks beside an innocent client: its stream goes on, and the memory returns to its base."""

from __future__ import annotations

import pytest

from loadtests import attacks
from loadtests.attacks import ATTACKS, Row, format_row, main, run

pytestmark = pytest.mark.wire

MAX_GROWTH = 48 * 2**20
"""Bytes. The bodies of two connections take less; 6 MB of pipelined requests once took 500 MB."""
SHORT = [
    "pipelined requests",
    "refused body in 1-byte chunks",
    "websocket fragments",
    "340 000 message parts",
]


@pytest.fixture(autouse=True)
def short_settle_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attacks, "SETTLE_TIME", 0.3)


def test_memory_stays_bounded_and_the_innocent_stream_goes_on() -> None:
    rows = list(run(SHORT, 0.4, 2))
    assert [row.attack for row in rows] == SHORT
    for row in rows:
        assert row.gap > 0.04, "the words come every 50 ms"
        assert row.peak - row.before < MAX_GROWTH, row
        assert row.after - row.before < MAX_GROWTH / 2, row


def test_a_long_gap_is_the_exit_status(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(attacks, "MAX_GAP", 0.0)
    assert main(["--only", "half requests", "--seconds", "0.1", "--connections", "1"]) == 1
    title, line = capsys.readouterr().out.splitlines()
    assert title.split() == ["attack", "gap", "ms", "before", "peak", "after", "MB"]
    assert line.startswith("half requests")


def test_a_row_shows_milliseconds_and_megabytes() -> None:
    assert format_row(Row("a", 0.0634, 2**20, 3 * 2**20, 2**21)).split() == ["a", "63", "1.0", "3.0", "2.0"]


def test_names_fit_into_the_table() -> None:
    assert max(map(len, ATTACKS)) < 32
