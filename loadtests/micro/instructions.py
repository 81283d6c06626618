"""The guard against creep: the processor's instructions of one turn and of one delta, beside their budget.

    python -m loadtests.micro.instructions [--update]

It runs `units` under callgrind, a tool of valgrind that counts instructions. Their number hardly depends on
the load of the machine, unlike times. Where a unit takes more than its budget allows, it prints the
functions that execute more bytecodes than before, and exits with 1. `--update` makes the current figures the
budget. See docs/performance.md.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import orjson

from loadtests.micro import budget
from loadtests.micro.units import MEASURED_UNITS, UNITS
from loadtests.report.results import ROOT

BUDGET_FILE = Path(__file__).with_name("budget.json")
TOOLS = ("valgrind", "vgdb")
TOTAL = re.compile(r"^totals: (\d+)$", re.MULTILINE)
# Sets of strings have the same order in each run.
ENVIRONMENT = {**os.environ, "PYTHONHASHSEED": "0"}
UNITS_COMMAND = [sys.executable, "-m", "loadtests.micro.units"]


def count_instructions() -> dict[str, float]:
    """Return the instructions of one unit, by unit. Raises RuntimeError when callgrind does not count."""
    with tempfile.TemporaryDirectory(prefix="voicegw-callgrind-") as folder:
        part = Path(folder) / "part"
        _run_under_callgrind(part)
        # Parts are numbered from 1; each second one has the units between two marks.
        return {
            name: _read_total(part.with_name(f"part.{2 * number}")) / MEASURED_UNITS
            for number, name in enumerate(UNITS, start=1)
        }


def _run_under_callgrind(part: Path) -> None:
    """Run the units; callgrind writes its counts since the last mark to `part` and a number at each mark.

    It counts only after the start, which would take six times as long with counting.
    """
    callgrind = ["valgrind", "--tool=callgrind", "--instr-atstart=no", "--dump-before=ctermid"]
    with (
        tempfile.TemporaryFile() as log,
        subprocess.Popen(
            [*callgrind, f"--callgrind-out-file={part}", *UNITS_COMMAND, "--marked"],
            cwd=ROOT,
            env=ENVIRONMENT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
        ) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        if process.stdout.readline() == b"ready\n":
            vgdb = ["vgdb", f"--pid={process.pid}", "instrumentation", "on"]
            subprocess.run(vgdb, check=True, capture_output=True, timeout=60)
            process.stdin.write(b"go\n")
            process.stdin.close()
        if process.wait():
            raise RuntimeError(f"the units failed under callgrind:\n{_read_end(log)}")


def _read_end(log: IO[bytes]) -> str:
    log.seek(0)
    return log.read().decode(errors="replace")[-2000:]


def _read_total(part: Path) -> int:
    found = TOTAL.search(part.read_text(errors="replace")) if part.exists() else None
    if found is None:
        raise RuntimeError(f"callgrind wrote no total into {part.name}: `ctermid` was not seen")
    return int(found[1])


def count_bytecodes() -> budget.Bytecodes:
    """Return the bytecodes that each function executes in one unit, by unit."""
    done = subprocess.run(UNITS_COMMAND, cwd=ROOT, env=ENVIRONMENT, capture_output=True, check=True)
    found: budget.Bytecodes = orjson.loads(done.stdout)
    return found


def interpreter_name() -> str:
    """Return the key of this interpreter in the budget file."""
    return f"{platform.python_implementation()} {platform.python_version()}"


def read_budgets() -> dict[str, Any]:
    """Return the entries of the budget file by interpreter."""
    entries: dict[str, Any] = orjson.loads(BUDGET_FILE.read_bytes()) if BUDGET_FILE.exists() else {}
    return entries


def update(interpreter: str, costs: budget.Costs) -> None:
    """Write the current figures of this interpreter into the budget file."""
    entry = budget.Measurement(costs, count_bytecodes()).to_json()
    entries = read_budgets() | {interpreter: entry}
    BUDGET_FILE.write_bytes(
        orjson.dumps(entries, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)
    )
    print(f"wrote the budget of {interpreter} to {BUDGET_FILE.relative_to(ROOT)}")


def compare(costs: budget.Costs, entry: budget.Measurement) -> int:
    """Print the costs beside the budget, and the growth of units above it; return the exit code."""
    print(*budget.format_costs(costs, entry.costs), sep="\n")
    excesses = budget.find_excesses(costs, entry.costs)
    if savings := budget.find_savings(costs, entry.costs):
        print(f"cheaper than the budget: {', '.join(savings)}. Keep that by `make budget ARGS=--update`.")
    if not excesses:
        return 0
    bytecodes = count_bytecodes()
    for unit in excesses:
        print("", *budget.format_growths(unit, bytecodes, entry.bytecodes), sep="\n")
    print(
        f"\nover the budget by more than {budget.TOLERANCE:.0%}: {', '.join(excesses)}. Make it cheaper, or "
        "justify the growth in the commit and run `make budget ARGS=--update`."
    )
    return 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0 within the budget or where it cannot be checked, 1 above it."""
    parser = argparse.ArgumentParser(
        "loadtests.micro.instructions", description="Compare the instructions of a turn with their budget."
    )
    parser.add_argument("--update", action="store_true", help="make the current figures the budget")
    options = parser.parse_args(arguments)
    if missing := [tool for tool in TOOLS if shutil.which(tool) is None]:
        print(f"the budget of instructions is not checked: {missing[0]} is not installed (package valgrind)")
        return 0
    interpreter, entries = interpreter_name(), read_budgets()
    if not options.update and interpreter not in entries:
        print(f"the budget of instructions is not checked: {BUDGET_FILE.name} has none for {interpreter}")
        return 0
    costs = count_instructions()
    if options.update:
        update(interpreter, costs)
        return 0
    entry = budget.Measurement.from_json(entries[interpreter])
    if not budget.is_same_build(costs, entry.costs):
        print(f"the budget of instructions is not checked: {BUDGET_FILE.name} has another {interpreter}")
        return 0
    return compare(costs, entry)


if __name__ == "__main__":
    sys.exit(main())
