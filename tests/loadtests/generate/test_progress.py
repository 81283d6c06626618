"""The progress bar is shown on a terminal only."""

from __future__ import annotations

import importlib.util
import sys

import pytest

from loadtests.generate.progress import Progress

PHASES = {"S1": 1000.0, "S2": 3000.0}


def test_nothing_is_shown_without_a_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    with Progress(PHASES) as progress:
        progress.start_phase("S1")
        progress.refresh()
    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(importlib.util.find_spec("tqdm") is None, reason="tqdm is an extra")
def test_a_terminal_shows_the_phase_and_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with Progress(PHASES) as progress:
        progress.start_phase("S1")
        progress.start_phase("S2")
        shown = str(progress.bar)
        progress.phases = {}
    assert "S2" in shown
    assert "25 %" in shown
