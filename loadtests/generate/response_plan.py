"""The timing and the fault that a model name requests from `loadtests.servers.upstream`. Pure.

    voice                                                    one of PRESETS
    first=0.3,every=0.02,tokens=40                           seconds; the defaults are 0, and 1 token
    first=lognormal:0.3:0.5,every=exponential:0.02,tokens=40 drawn anew for every stream
    first=0.3,tokens=40,fault=cut                            see FAULTS
    ...,seed=7                                               every stream with this seed draws the same values

The distributions are `lognormal:MEDIAN:SIGMA`, `exponential:MEAN` and `uniform:FROM:TO`. Without a seed
each stream has a different one, and the streams of a new upstream repeat the seeds of the last.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from itertools import repeat
from math import exp, isfinite
from random import Random
from typing import TypeAlias

MAX_WAIT = 3600.0
"""Seconds; the longest wait that can be requested or drawn."""
SLOW_FACTOR = 10.0
"""The fault "slow" multiplies every wait by this factor."""
FAULTS = {
    "": "none",
    "refuse": "503 at once",
    "silent": "not a byte, ever",
    "slow": f"every wait is {SLOW_FACTOR:g} times as long",
    "stall": "half of the tokens, then silence without end",
    "garble": "an event in the middle is not valid JSON",
    "cut": "half of the tokens, then the connection is closed",
}
"""The values of `fault=`, with their effect."""
PARAMETER_COUNTS = {"lognormal": 2, "exponential": 1, "uniform": 2}
"""The distributions, with the number of their parameters."""


@dataclass(frozen=True, slots=True)
class Distribution:
    """A random wait in seconds. The module docstring names the meaning of `parameters`."""

    name: str
    parameters: tuple[float, ...]

    @property
    def typical(self) -> float:
        """The median of a log-normal distribution, the mean of the others, in seconds."""
        return sum(self.parameters) / 2 if self.name == "uniform" else self.parameters[0]

    def sample(self, random: Random) -> float:
        """Return one wait in seconds, at most MAX_WAIT."""
        if self.name == "uniform":
            return random.uniform(*self.parameters)
        if self.name == "lognormal":
            return min(self.parameters[0] * exp(random.gauss(0.0, self.parameters[1])), MAX_WAIT)
        return min(random.expovariate(1.0) * self.parameters[0], MAX_WAIT)


Wait: TypeAlias = float | Distribution


@dataclass(frozen=True, slots=True)
class ResponsePlan:
    """The timing of one stream: seconds before the first token and between tokens; how many tokens.

    Tokens without a wait between them share one write, unless `apart` is set. `seed` is None for a stream
    that takes the default seed of its upstream.
    """

    first: Wait = 0.0
    every: Wait = 0.0
    tokens: int = 1
    apart: bool = False
    fault: str = ""
    seed: int | None = None

    @classmethod
    def from_model_name(cls, model: str) -> ResponsePlan:
        """Return the plan that a model name requests. Raises ValueError for an unknown name or timing."""
        name, _, seed = model.rpartition(",seed=")
        try:
            return replace(_parse_plan(name), seed=int(seed)) if name else _parse_plan(model)
        except ValueError as error:
            known = ", ".join(PRESETS)
            raise ValueError(
                f"no such timing: {model!r}; use {known}, or first=0.3,every=0.02,tokens=40"
            ) from error

    @property
    def seconds(self) -> float:
        """The typical duration of the stream in seconds."""
        slow = SLOW_FACTOR if self.fault == "slow" else 1.0
        return slow * (typical_wait(self.first) + typical_wait(self.every) * (self.tokens - 1))

    def waits(self, default_seed: int) -> tuple[float, Iterator[float]]:
        """Return the first wait and an endless iterator of the later ones, in seconds.

        `default_seed` is the seed of a stream whose plan has none.
        """
        first, every = self.first, self.every
        if isinstance(first, float) and isinstance(every, float):
            return (
                (first, repeat(every))
                if self.fault != "slow"
                else (first * SLOW_FACTOR, repeat(every * SLOW_FACTOR))
            )
        random = Random(default_seed if self.seed is None else self.seed)
        slow = SLOW_FACTOR if self.fault == "slow" else 1.0
        return slow * sample_wait(first, random), (slow * sample_wait(wait, random) for wait in repeat(every))


PRESETS = {
    "voice": ResponsePlan(0.3, 0.02, 40),
    "quick": ResponsePlan(tokens=20),
    "burst": ResponsePlan(tokens=10, apart=True),
}
"""The plans that have a short name."""


def typical_wait(wait: Wait) -> float:
    return wait.typical if isinstance(wait, Distribution) else wait


def sample_wait(wait: Wait, random: Random) -> float:
    return wait.sample(random) if isinstance(wait, Distribution) else wait


@lru_cache
def _parse_plan(model: str) -> ResponsePlan:
    if model in PRESETS:
        return PRESETS[model]
    options = dict(part.split("=", 1) for part in model.split(","))
    if options.keys() - {field.name for field in fields(ResponsePlan)}:
        raise ValueError(model)
    plan = ResponsePlan(
        _parse_wait(options.get("first", "0")),
        _parse_wait(options.get("every", "0")),
        int(options.get("tokens", 1)),
        bool(int(options.get("apart", 0))),
        options.get("fault", ""),
    )
    if plan.tokens < 1 or plan.fault not in FAULTS or "seed" in options:
        raise ValueError(model)
    return plan


def _parse_wait(text: str) -> Wait:
    kind, *rest = text.split(":")
    numbers = tuple(map(float, rest or (kind,)))
    if not all(isfinite(number) and 0 <= number < MAX_WAIT for number in numbers):
        raise ValueError(f"no such wait: {text}")
    if not rest:
        return numbers[0]
    if len(numbers) != PARAMETER_COUNTS.get(kind):
        raise ValueError(f"no such distribution: {text}")
    return Distribution(kind, numbers)
