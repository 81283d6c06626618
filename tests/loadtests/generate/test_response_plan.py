"""A model name is a response plan: its random waits repeat with the seed, and invalid names are refused."""

from __future__ import annotations

from itertools import islice
from statistics import mean, median

import pytest

from loadtests.generate.response_plan import (
    FAULTS,
    PARAMETER_COUNTS,
    PRESETS,
    SLOW_FACTOR,
    Distribution,
    ResponsePlan,
)
from loadtests.report.results import ROOT


def waits(model: str, number: int, count: int) -> list[float]:
    first, others = ResponsePlan.from_model_name(model).waits(number)
    return [first, *islice(others, count)]


def test_a_model_name_sets_the_timing() -> None:
    assert ResponsePlan.from_model_name("voice") == ResponsePlan.from_model_name(
        "first=0.3,every=0.02,tokens=40"
    )
    assert ResponsePlan.from_model_name("tokens=10,apart=1") == PRESETS["burst"]
    assert ResponsePlan.from_model_name("voice").seconds == pytest.approx(1.08)
    assert waits("voice", 5, 2) == [0.3, 0.02, 0.02]


@pytest.mark.parametrize(
    "model",
    [
        *(
            "",
            "gpt",
            "first=x",
            "first=-1",
            "tokens=0",
            "first=nan",
            "last=1",
            "fault=lost",
            "seed=1,tokens=2",
        ),
        *("first=normal:1:2", "first=lognormal:1", "every=exponential:", "first=uniform:1:inf"),
    ],
)
def test_an_invalid_model_name_is_refused(model: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        ResponsePlan.from_model_name(model)


def test_streams_with_one_seed_have_equal_waits() -> None:
    model = "first=lognormal:0.3:0.5,every=exponential:0.02,tokens=40"
    assert waits(model, 1, 39) == waits(model, 1, 39) != waits(model, 2, 39)
    assert waits(f"{model},seed=9", 1, 39) == waits(f"{model},seed=9", 2, 39) == waits(model, 9, 39)


def test_random_waits_follow_their_distribution() -> None:
    model = "first=lognormal:0.3:0.5,every=exponential:0.02,tokens=2"
    drawn = [waits(model, seed, 1) for seed in range(2000)]
    assert median(first for first, _ in drawn) == pytest.approx(0.3, rel=0.05)
    assert mean(every for _, every in drawn) == pytest.approx(0.02, rel=0.05)
    flat = [waits("first=uniform:0.1:0.2", seed, 0)[0] for seed in range(500)]
    assert 0.1 <= min(flat) < 0.11 < 0.19 < max(flat) < 0.2


def test_a_slow_stream_waits_longer_for_the_same_tokens() -> None:
    for model in ("first=0.1,every=0.2,tokens=3", "first=uniform:1:2,every=exponential:1,tokens=3"):
        expected = [SLOW_FACTOR * wait for wait in waits(model, 3, 2)]
        assert waits(f"{model},fault=slow", 3, 2) == pytest.approx(expected)
    assert ResponsePlan.from_model_name("first=0.1,fault=slow").seconds == pytest.approx(1.0)
    assert Distribution("uniform", (1.0, 3.0)).typical == 2.0


def test_the_docs_name_every_preset_fault_and_distribution() -> None:
    page = (ROOT / "docs" / "load-testing.md").read_text("utf-8")
    assert [name for name in [*PRESETS, *FAULTS] if name and f"`{name}`" not in page] == []
    assert [name for name in PARAMETER_COUNTS if f"`={name}:" not in page] == []
