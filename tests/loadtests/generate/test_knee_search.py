"""Arrivals repeat with their seed, and the search for the knee ends near it."""

from __future__ import annotations

from itertools import pairwise
from statistics import mean, pstdev

import pytest

from loadtests.generate.knee_search import RESOLUTION, KneeSearch, arrival_times


def test_steady_arrivals_are_evenly_spaced() -> None:
    assert arrival_times(4, 1.0, steady=True) == [0.0, 0.25, 0.5, 0.75]


def test_independent_arrivals_repeat_with_their_seed() -> None:
    assert arrival_times(50, 2.0, 3) == arrival_times(50, 2.0, 3) != arrival_times(50, 2.0, 4)


def test_gaps_between_arrivals_are_exponential() -> None:
    moments = arrival_times(100, 100.0, 1)
    gaps = [after - before for before, after in pairwise(moments)]
    assert mean(gaps) == pytest.approx(0.01, rel=0.05)
    assert pstdev(gaps) == pytest.approx(0.01, rel=0.05)
    assert 0 < moments[0] < moments[-1] < 100.0


def test_there_is_always_one_arrival() -> None:
    assert arrival_times(0.001, 0.1, 1) == arrival_times(0.001, 0.1, steady=True) == [0.0]


def search(first: float, steps: int, limit: float) -> tuple[list[float], float]:
    """Return the rates that were tried, and the highest one held, if rates up to `limit` are held."""
    knee_search, tried = KneeSearch(first, steps), list[float]()
    while (rate := knee_search.next_rate) is not None:
        tried.append(rate)
        knee_search.record(rate, rate <= limit)
    return tried, knee_search.max_held


def test_the_knee_is_bracketed_and_then_approached() -> None:
    tried, held = search(100, 8, 330.0)
    assert tried[:4] == [100, 200, 400, pytest.approx(282.8, abs=0.1)]
    assert held <= 330 < held * RESOLUTION


def test_a_knee_below_the_first_rate_is_found() -> None:
    tried, held = search(100, 9, 30.0)
    assert tried[:3] == [100, 50, 25]
    assert held <= 30 < held * RESOLUTION


def test_the_search_ends_after_its_maximum_of_steps() -> None:
    assert search(100, 3, 1e9) == ([100, 200, 400], 400)
    assert search(100, 3, 0.0) == ([100, 50, 25], 0.0)
