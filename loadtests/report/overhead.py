"""The overhead: what a target adds to the same turns, with how sure that is. Pure.

Every round offers the same turns directly and through the target. An estimate is the quantile of all turns
through it minus the same quantile of all direct ones; its interval comes from a bootstrap that draws rounds
with replacement, and in them turns, always both sides of a pair. So a round that was noisy for both, and
turns for which the agent was slow, move both sides alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan
from random import Random
from typing import TypeAlias

from loadtests.generate.workload import PlannedTurn
from loadtests.report.results import Overhead

Pair: TypeAlias = tuple[float, float]
"""A turn's answer-TTFT without the agent's own wait, in seconds: directly, and through the target."""

QUANTILES = (0.5, 0.95, 0.99, 0.999)
RESAMPLES = 1000
CONFIDENCE = 0.95


def pair_turns(direct: Sequence[PlannedTurn], through: Sequence[PlannedTurn]) -> list[Pair]:
    """The turns of one round that went well on both sides; they are in the same order."""
    both = [(one.added, other.added) for one, other in zip(direct, through, strict=True)]
    return [pair for pair in both if not any(map(isnan, pair))]


def estimate_overheads(
    rounds: Sequence[Sequence[Pair]], target: str, scenario: str, seed: int, resamples: int = RESAMPLES
) -> list[Overhead]:
    """One for each quantile of which the pairs know something: at least one turn must lie beyond it."""
    rounds = [pairs for pairs in rounds if pairs]
    whole = [pair for pairs in rounds for pair in pairs]
    known = [q for q in QUANTILES if len(whole) * (1 - q) > 0.999]
    if not known:
        return []
    random = Random(seed)
    drawn = [quantile_differences(resample(rounds, random), known) for _ in range(resamples)]
    found = []
    for i, (q, estimate) in enumerate(zip(known, quantile_differences(whole, known), strict=True)):
        low, high = confidence_interval([difference[i] for difference in drawn])
        found.append(Overhead(target, scenario, q, estimate, low, high))
    return found


def resample(rounds: Sequence[Sequence[Pair]], random: Random) -> list[Pair]:
    """As many rounds as there are, drawn with replacement, and of each as many pairs as it has."""
    return [
        pair
        for pairs in random.choices(rounds, k=len(rounds))
        for pair in random.choices(pairs, k=len(pairs))
    ]


def quantile_differences(pairs: Sequence[Pair], quantiles: Sequence[float]) -> list[float]:
    """Target minus direct at each quantile; quantiles are values that were measured."""
    direct, through = sorted(pair[0] for pair in pairs), sorted(pair[1] for pair in pairs)
    places = [min(int(q * len(pairs)), len(pairs) - 1) for q in quantiles]
    return [through[place] - direct[place] for place in places]


def confidence_interval(values: Sequence[float]) -> Pair:
    """The middle of the values that holds SURE of them."""
    ordered = sorted(values)
    beyond = int(len(ordered) * (1 - CONFIDENCE) / 2)
    return ordered[beyond], ordered[-1 - beyond]
