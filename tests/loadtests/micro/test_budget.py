"""A unit that costs more than its budget fails the guard, which names the functions that grew."""

from __future__ import annotations

import shutil
from pathlib import Path

import orjson
import pytest

from loadtests.micro import instructions
from loadtests.micro.budget import (
    CALIBRATION,
    MAX_GROWTHS,
    Measurement,
    find_excesses,
    format_costs,
    format_growths,
)
from loadtests.micro.units import UNITS

BUDGET = Measurement(
    {CALIBRATION: 1000, "turn": 4000, "delta": 200},
    {"turn": {"run.push": 100, "stream.read": 50}, "delta": {"run.push": 40}},
)


@pytest.fixture
def budget_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A budget file with BUDGET for this interpreter. Tools count as installed."""
    file = tmp_path / "budget.json"
    file.write_bytes(orjson.dumps({instructions.interpreter_name(): BUDGET.to_json()}))
    monkeypatch.setattr(instructions, "BUDGET_FILE", file)
    monkeypatch.setattr(instructions, "ROOT", tmp_path)
    monkeypatch.setattr(shutil, "which", lambda tool: f"/usr/bin/{tool}")
    return file


def measure(monkeypatch: pytest.MonkeyPatch, turn: float, read_bytecodes: float = 50) -> None:
    """Let the tools report a turn of that cost, and that many bytecodes of `stream.read` in it."""
    counts = {CALIBRATION: 1000.0, "turn": turn, "delta": 200.0}
    bytecodes = {"turn": {"run.push": 100, "stream.read": read_bytecodes}, "delta": {"run.push": 40}}
    monkeypatch.setattr(instructions, "count_instructions", lambda: counts)
    monkeypatch.setattr(instructions, "count_bytecodes", lambda: bytecodes)


@pytest.mark.parametrize(("turn", "excesses"), [(4000, []), (4119, []), (4121, ["turn"]), (2000, [])])
def test_only_more_than_three_percent_above_the_budget_is_an_excess(turn: float, excesses: list[str]) -> None:
    assert find_excesses({CALIBRATION: 1100, "turn": turn, "delta": 200}, BUDGET.costs) == excesses


def test_a_unit_without_budget_is_an_excess() -> None:
    assert find_excesses({"turn": 4000, "call_turn": 5000}, BUDGET.costs) == ["call_turn"]
    assert list(format_costs({"call_turn": 5000}, BUDGET.costs))[-1].endswith("new")


def test_the_entry_of_the_file_reads_back_without_small_functions() -> None:
    measured = Measurement({"turn": 4000.4}, {"turn": {"run.push": 1000.4, "small": 3.0}, CALIBRATION: {}})
    read = Measurement.from_json(measured.to_json())
    assert read == Measurement({"turn": 4000}, {"turn": {"run.push": 1000}})


def test_growths_are_listed_with_the_largest_first() -> None:
    now = {"turn": {"run.push": 110.0, "stream.read": 90.0, "new.function": 25.0, "tiny.function": 0.6}}
    lines = list(format_growths("turn", now, BUDGET.bytecodes))[1:]
    assert [line.split() for line in lines] == [
        ["50", "90", "stream.read"],
        ["0", "25", "new.function"],
        ["100", "110", "run.push"],
    ]
    many = {"turn": {f"function{number}": 30.0 for number in range(50)}}
    assert len(list(format_growths("turn", many, {}))) == 1 + MAX_GROWTHS


def test_growth_outside_python_says_where_to_look() -> None:
    assert "look for larger inputs" in "".join(format_growths("turn", BUDGET.bytecodes, BUDGET.bytecodes))


def test_a_turn_within_the_budget_passes(
    budget_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    measure(monkeypatch, 4100)
    assert instructions.main([]) == 0
    assert "+2.5%" in capsys.readouterr().out


def test_a_cheaper_turn_passes_and_asks_for_the_lower_budget(
    budget_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    measure(monkeypatch, 3870)
    assert instructions.main([]) == 0
    assert "cheaper than the budget: turn." in capsys.readouterr().out


def test_a_turn_above_the_budget_fails_and_names_the_function_that_grew(
    budget_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    measure(monkeypatch, 4200, read_bytecodes=80)
    assert instructions.main([]) == 1
    output = capsys.readouterr().out
    assert "+5.0%" in output
    assert "50         80  stream.read" in output
    assert "over the budget by more than 3%: turn." in output


def test_an_update_makes_the_figures_the_budget(budget_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measure(monkeypatch, 4200, read_bytecodes=80)
    assert instructions.main(["--update"]) == 0
    assert instructions.main([]) == 0
    entry = orjson.loads(budget_file.read_bytes())[instructions.interpreter_name()]
    assert entry["costs"]["turn"] == 4200
    assert entry["bytecodes"]["turn"]["stream.read"] == 80


def test_another_interpreter_is_not_compared(
    budget_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(instructions, "interpreter_name", lambda: "CPython 4.0")
    assert instructions.main([]) == 0
    assert "budget.json has none for CPython 4.0" in capsys.readouterr().out


def test_another_build_of_the_interpreter_is_not_compared(
    budget_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    counts = {CALIBRATION: 1031.0, "turn": 9000.0, "delta": 200.0}
    monkeypatch.setattr(instructions, "count_instructions", lambda: counts)
    assert instructions.main([]) == 0
    assert "has another CPython" in capsys.readouterr().out


def test_a_missing_valgrind_is_named(
    budget_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shutil, "which", lambda tool: None)
    assert instructions.main([]) == 0
    assert "valgrind is not installed" in capsys.readouterr().out


@pytest.mark.wire
def test_bytecodes_of_the_real_units_are_counted_by_function() -> None:
    counted = instructions.count_bytecodes()
    assert list(counted) == list(UNITS)
    assert counted["delta"]["voicegw.agents.client.connection.Connection.data_received"] > 0
    assert counted["turn"]["voicegw.asgi.http_protocol.GatewayHttpProtocol.on_message_complete"] > 0
    assert counted["call_turn"]["voicegw.platforms.conversation_relay.codec.RelayCodec.receive"] > 0
