"""The overhead is a difference between the same turns, and its interval contains the true value."""

from __future__ import annotations

from math import nan
from random import Random

import pytest

from loadtests.generate.response_plan import ResponsePlan
from loadtests.generate.streams import Stream
from loadtests.generate.workload import PlannedTurn
from loadtests.report.overhead import (
    Pair,
    confidence_interval,
    estimate_overheads,
    pair_turns,
    quantile_differences,
)
from loadtests.report.results import quantile


def turn(answer: float, failure: str = "") -> PlannedTurn:
    return PlannedTurn(
        0.0, b"", ResponsePlan(), stream=Stream(answer=answer, waited=0.0, tokens=1, failure=failure)
    )


def measured(seed: int, rounds: int = 4, per_round: int = 100) -> list[list[Pair]]:
    """Return pairs 1 ms apart; both sides share most of their noise, which differs from round to round."""
    random = Random(seed)
    found = []
    for _ in range(rounds):
        noise = random.uniform(0.0, 0.0005)
        shared = [0.001 + noise + random.expovariate(2000) for _ in range(per_round)]
        found.append([(x + random.gauss(0, 1e-5), x + 0.001 + random.gauss(0, 1e-5)) for x in shared])
    return found


def test_a_pair_needs_two_successful_turns() -> None:
    direct = [turn(0.1), turn(0.2), turn(0.3, "cut"), turn(nan)]
    through = [turn(0.4), turn(0.5, "cut"), turn(0.6), turn(0.7)]
    assert pair_turns(direct, through) == [(0.1, 0.4)]


def test_a_difference_is_between_quantiles_as_elsewhere() -> None:
    pairs = [pair for pairs in measured(1) for pair in pairs]
    expected = [
        quantile([pair[1] for pair in pairs], q) - quantile([pair[0] for pair in pairs], q)
        for q in (0.5, 0.99)
    ]
    assert quantile_differences(pairs, (0.5, 0.99)) == expected


def test_a_known_overhead_is_estimated_within_its_interval() -> None:
    for found in estimate_overheads(measured(2), "voicegw", "S1", seed=1, resamples=200):
        assert (found.target, found.scenario) == ("voicegw", "S1")
        assert found.estimate == pytest.approx(0.001, abs=5e-5)
        assert found.low <= found.estimate <= found.high
        assert found.high - found.low < 1e-4


def test_the_interval_of_the_median_has_its_nominal_coverage() -> None:
    intervals = [
        estimate_overheads(measured(seed, per_round=40), "t", "s", 1, resamples=100)[0] for seed in range(60)
    ]
    assert sum(found.low <= 0.001 <= found.high for found in intervals) >= 51


def test_the_same_seed_draws_the_same_interval() -> None:
    rounds = measured(3, per_round=30)
    once, again, other = (estimate_overheads(rounds, "t", "s", seed, resamples=50) for seed in (1, 1, 2))
    assert once == again != other


def test_a_quantile_without_turns_beyond_it_is_left_out() -> None:
    quantiles = {
        n: [o.quantile for o in estimate_overheads([[(0.1, 0.2)] * n], "t", "s", 1, 10)]
        for n in (1, 2, 99, 1000)
    }
    assert quantiles == {1: [], 2: [0.5], 99: [0.5, 0.95], 1000: [0.5, 0.95, 0.99, 0.999]}
    assert estimate_overheads([[], []], "t", "s", 1) == []


def test_an_interval_is_symmetric_in_rank() -> None:
    assert confidence_interval([float(n) for n in range(1000)]) == (25.0, 974.0)
