"""What a model name asks of `loadtests.servers.upstream`: when its stream says what, and what goes wrong with it.

    voice                                                    one of PLANS
    first=0.3,every=0.02,tokens=40                           seconds; left out: 0, and 1 token
    first=lognormal:0.3:0.5,every=exponential:0.02,tokens=40 drawn anew for every stream
    first=0.3,tokens=40,fault=cut                            see FAULTS
    ...,seed=7                                               draws what every stream of this seed draws

`lognormal:MEDIAN:SIGMA`, `exponential:MEAN` and `uniform:FROM:TO` are the distributions. Without a seed
each stream has one of its own, and the streams of a new upstream repeat those of the last. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from itertools import repeat
from math import exp, isfinite
from random import Random
from typing import TypeAlias

LONGEST = 3600.0
"""Seconds; no wait is longer."""
SLOW = 10.0
"""A slow stream waits so many times as long as it would."""
FAULTS = {
    "": "none",
    "refuse": "503 at once",
    "silent": "not a byte, ever",
    "slow": f"every wait is {SLOW:g} times as long",
    "stall": "half of the tokens, then silence for ever",
    "garble": "an event in the middle is no JSON",
    "cut": "half of the tokens, then the connection is closed",
}
PARAMETERS = {"lognormal": 2, "exponential": 1, "uniform": 2}


@dataclass(frozen=True, slots=True)
class Draw:
    """Seconds drawn from a distribution; what `of` means is that of the module's description."""

    kind: str
    of: tuple[float, ...]

    @property
    def typical(self) -> float:
        """The median or the mean."""
        return sum(self.of) / 2 if self.kind == "uniform" else self.of[0]

    def by(self, random: Random) -> float:
        if self.kind == "uniform":
            return random.uniform(*self.of)
        if self.kind == "lognormal":
            return min(self.of[0] * exp(random.gauss(0.0, self.of[1])), LONGEST)
        return min(random.expovariate(1.0) * self.of[0], LONGEST)


Wait: TypeAlias = float | Draw


@dataclass(frozen=True, slots=True)
class Plan:
    """When a stream says what: the wait before the first token, that between tokens, how many tokens.

    Tokens without a wait between them share one write, unless they are to leave `apart`. `seed` is None
    for streams that have their own.
    """

    first: Wait = 0.0
    every: Wait = 0.0
    tokens: int = 1
    apart: bool = False
    fault: str = ""
    seed: int | None = None

    @classmethod
    def named(cls, model: str) -> Plan:
        """The plan that a model name asks for. Raises ValueError when it asks for none."""
        name, _, seed = model.rpartition(",seed=")
        try:
            return replace(_named(name), seed=int(seed)) if name else _named(model)
        except ValueError as error:
            known = ", ".join(PLANS)
            raise ValueError(
                f"no such timing: {model!r}; take {known}, or first=0.3,every=0.02,tokens=40"
            ) from error

    @property
    def seconds(self) -> float:
        """How long the stream typically takes."""
        slow = SLOW if self.fault == "slow" else 1.0
        return slow * (typical(self.first) + typical(self.every) * (self.tokens - 1))

    def waits(self, number: int) -> tuple[float, Iterator[float]]:
        """The first wait, and all others as they come; `number` is the seed of a stream without one."""
        first, every = self.first, self.every
        if isinstance(first, float) and isinstance(every, float):
            return (first, repeat(every)) if self.fault != "slow" else (first * SLOW, repeat(every * SLOW))
        random = Random(number if self.seed is None else self.seed)
        slow = SLOW if self.fault == "slow" else 1.0
        return slow * drawn(first, random), (slow * drawn(wait, random) for wait in repeat(every))


PLANS = {"voice": Plan(0.3, 0.02, 40), "quick": Plan(tokens=20), "burst": Plan(tokens=10, apart=True)}


def typical(wait: Wait) -> float:
    return wait.typical if isinstance(wait, Draw) else wait


def drawn(wait: Wait, random: Random) -> float:
    return wait.by(random) if isinstance(wait, Draw) else wait


@lru_cache
def _named(model: str) -> Plan:
    if model in PLANS:
        return PLANS[model]
    options = dict(part.split("=", 1) for part in model.split(","))
    if options.keys() - {field.name for field in fields(Plan)}:
        raise ValueError(model)
    plan = Plan(
        _wait(options.get("first", "0")),
        _wait(options.get("every", "0")),
        int(options.get("tokens", 1)),
        bool(int(options.get("apart", 0))),
        options.get("fault", ""),
    )
    if plan.tokens < 1 or plan.fault not in FAULTS or "seed" in options:
        raise ValueError(model)
    return plan


def _wait(text: str) -> Wait:
    kind, *rest = text.split(":")
    numbers = tuple(map(float, rest or (kind,)))
    if not all(isfinite(number) and 0 <= number < LONGEST for number in numbers):
        raise ValueError(f"no such wait: {text}")
    if not rest:
        return numbers[0]
    if len(numbers) != PARAMETERS.get(kind):
        raise ValueError(f"no such distribution: {text}")
    return Draw(kind, numbers)
