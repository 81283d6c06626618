"""The budget file: the cost of each unit of work when the budget was set, and the comparison with it. Pure.

Costs are numbers of processor instructions. They depend on the interpreter, so the file has an entry for each
version, with the cost of plain Python: it tells builds of one version apart. The measurement is in
`instructions`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

TOLERANCE = 0.03
"""The share by which a unit may cost more than its budget."""
CALIBRATION = "calibration"
"""The unit of plain Python, which no change of the gateway touches."""
BUILD_TOLERANCE = 0.03
"""The share by which the calibrations of one build may differ.

Those of one build differed by 0.5 %, those with and without profile-guided optimisation by 15 %.
"""
MIN_SHARE = 0.003
"""The share of a unit's bytecodes from which the file names a function."""
MAX_GROWTHS = 15
"""Functions in the output that grew most."""

Costs = Mapping[str, float]
"""The instructions of one unit, by unit."""
Bytecodes = Mapping[str, Mapping[str, float]]
"""The bytecodes that each function executes in one unit, by unit."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """The costs of the units on one interpreter, and the bytecodes of their functions."""

    costs: Costs
    bytecodes: Bytecodes

    def to_json(self) -> dict[str, Any]:
        """Return the entry of the budget file."""
        functions = {
            unit: {
                name: round(count)
                for name, count in counts.items()
                if count >= MIN_SHARE * sum(counts.values())
            }
            for unit, counts in self.bytecodes.items()
            if unit != CALIBRATION
        }
        return {"costs": {unit: round(cost) for unit, cost in self.costs.items()}, "bytecodes": functions}

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> Measurement:
        """Return the measurement of an entry of the budget file."""
        return cls(entry["costs"], entry["bytecodes"])


def is_same_build(costs: Costs, budget: Costs) -> bool:
    """Whether both are costs on the same build of an interpreter."""
    return abs(costs[CALIBRATION] / budget[CALIBRATION] - 1) <= BUILD_TOLERANCE


def find_excesses(costs: Costs, budget: Costs) -> list[str]:
    """Return the units that cost more than TOLERANCE above their budget, or have none."""
    units = costs.keys() - {CALIBRATION}
    return [unit for unit in costs if unit in units and costs[unit] > budget.get(unit, 0.0) * (1 + TOLERANCE)]


def find_savings(costs: Costs, budget: Costs) -> list[str]:
    """Return the units that cost less than their budget by more than TOLERANCE."""
    units = costs.keys() & budget.keys() - {CALIBRATION}
    return [unit for unit in costs if unit in units and costs[unit] < budget[unit] * (1 - TOLERANCE)]


def format_costs(costs: Costs, budget: Costs) -> Iterator[str]:
    """Yield the lines of a table of the costs beside the budget."""
    yield f"{'instructions':12} {'now':>10} {'budget':>10} {'change':>8}"
    for unit, cost in costs.items():
        change = f"{cost / budget[unit] - 1:+.1%}" if unit in budget else "new"
        yield f"{unit:12} {cost:10.0f} {budget.get(unit, 0.0):10.0f} {change:>8}"


def format_growths(unit: str, bytecodes: Bytecodes, budget: Bytecodes) -> Iterator[str]:
    """Yield the lines of the functions that execute more bytecodes in a unit than its budget has.

    A function below MIN_SHARE is not in the file, and counts as 0 there.
    """
    now, before = bytecodes[unit], budget.get(unit, {})
    smallest = MIN_SHARE * sum(now.values())
    growths = {name: count - before.get(name, 0) for name, count in now.items() if count >= smallest}
    grown = sorted((name for name in growths if growths[name] >= 1), key=lambda name: -growths[name])
    if not grown:
        yield f"{unit}: no function executes more bytecodes: look for larger inputs and newer C code"
        return
    yield f"{unit}: bytecodes per unit, before and now, of the functions that grew most"
    for name in grown[:MAX_GROWTHS]:
        yield f"{before.get(name, 0):10.0f} {now[name]:10.0f}  {name}"
