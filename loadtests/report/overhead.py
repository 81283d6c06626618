"""The overhead: the time that a target adds to the same turns, with its confidence interval. Pure.

Every round sends the same turns directly and through the target. An estimate is the quantile of all turns
through it minus the same quantile of all direct turns. Its interval comes from a bootstrap that draws
rounds with replacement, and turns from them, always both sides of a pair. So a round that was noisy on both
sides, and turns for which the agent was slow, move both sides alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan
from random import Random
from typing import TypeAlias

from loadtests.generate.workload import PlannedTurn
from loadtests.report.results import Overhead

Pair: TypeAlias = tuple[float, float]
"""A turn's answer-TTFT without the wait of the agent, in seconds: directly, and through the target."""

QUANTILES = (0.5, 0.95, 0.99, 0.999)
RESAMPLES = 1000
CONFIDENCE = 0.95


def pair_turns(direct: Sequence[PlannedTurn], through: Sequence[PlannedTurn]) -> list[Pair]:
    """Return the turns of one round that succeeded on both sides.

    Raises ValueError for unequal numbers of turns.
    """
    both = [
        (direct_turn.added, target_turn.added)
        for direct_turn, target_turn in zip(direct, through, strict=True)
    ]
    return [pair for pair in both if not any(map(isnan, pair))]


def estimate_overheads(
    rounds: Sequence[Sequence[Pair]], target: str, scenario: str, seed: int, resamples: int = RESAMPLES
) -> list[Overhead]:
    """Return one overhead for each quantile beyond which at least one turn lies."""
    rounds = [pairs for pairs in rounds if pairs]
    all_pairs = [pair for pairs in rounds for pair in pairs]
    quantiles = [q for q in QUANTILES if len(all_pairs) * (1 - q) > 0.999]
    if not quantiles:
        return []
    random = Random(seed)
    drawn = [quantile_differences(resample(rounds, random), quantiles) for _ in range(resamples)]
    found = []
    for i, (q, estimate) in enumerate(
        zip(quantiles, quantile_differences(all_pairs, quantiles), strict=True)
    ):
        low, high = confidence_interval([difference[i] for difference in drawn])
        found.append(Overhead(target, scenario, q, estimate, low, high))
    return found


def resample(rounds: Sequence[Sequence[Pair]], random: Random) -> list[Pair]:
    """Draw as many rounds as there are, with replacement, and from each as many pairs as it has."""
    return [
        pair
        for pairs in random.choices(rounds, k=len(rounds))
        for pair in random.choices(pairs, k=len(pairs))
    ]


def quantile_differences(pairs: Sequence[Pair], quantiles: Sequence[float]) -> list[float]:
    """Return target minus direct at each quantile; a quantile is a value that was measured."""
    direct, through = sorted(pair[0] for pair in pairs), sorted(pair[1] for pair in pairs)
    indices = [min(int(q * len(pairs)), len(pairs) - 1) for q in quantiles]
    return [through[index] - direct[index] for index in indices]


def confidence_interval(values: Sequence[float]) -> Pair:
    """Return the interval in the middle that holds the share CONFIDENCE of the values."""
    ordered = sorted(values)
    beyond = int(len(ordered) * (1 - CONFIDENCE) / 2)
    return ordered[beyond], ordered[-1 - beyond]
