"""A file of results is read completely or refused with the reason."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from loadtests.report import page
from loadtests.report.results import Check, Overhead, Results, Run, Sample

CORRUPTIONS: dict[str, Callable[[dict[str, Any]], object]] = {
    "format is 'voicegw-load/2'": lambda found: found.update(format="voicegw-load/2"),
    "runs": lambda found: found.pop("runs"),
    "notes of Results is not of type list": lambda found: found.update(notes="none"),
    "environment of Results is not of type dict": lambda found: found.update(environment=[]),
    "target of Run is not of type str": lambda found: found["runs"][0].update(target=None),
    "offered of Run is not of type float": lambda found: found["runs"][0].update(offered="1"),
    "times of a run are incomplete": lambda found: found["runs"][0]["times"].update(at=[]),
    "the times of a run are incomplete": lambda found: found["runs"][0]["times"].pop("gap"),
    "the times of a run are not numbers": lambda found: found["runs"][0]["times"].update(at=["1"]),
    "failures of a run are not counts": lambda found: found["runs"][0].update(failed={"x": "many"}),
    "cpu of Sample is not of type float": lambda found: found["runs"][0]["samples"][0].update(cpu=None),
    "ok of Check is not of type bool": lambda found: found["runs"][0]["checks"][0].update(ok="yes"),
    "low of Overhead is not of type float": lambda found: found["overheads"][0].update(low=[]),
    "unexpected keyword": lambda found: found["runs"][0].update(more=1),
}


def complete_file() -> dict[str, Any]:
    run = Run(
        "a", "S", "open", 1.0, 1.0, samples=[Sample(0.0, 0, 1, 1, 1)], checks=[Check("c", True, "", "")]
    )
    run.add(at=0.0, answer=1)
    made = Results({"seed": 1}, [run], [Overhead("a", "S", 0.5, 0.1, 0.1, 0.1)], ["a note"])
    return {"format": "voicegw-load/1", **orjson.loads(orjson.dumps(made))}


def test_written_results_are_read(tmp_path: Path) -> None:
    file = tmp_path / "r.json"
    file.write_bytes(orjson.dumps(complete_file()))
    assert orjson.loads(orjson.dumps(Results.read(file))) | {"format": "voicegw-load/1"} == complete_file()


@pytest.mark.parametrize("reason", CORRUPTIONS)
def test_corrupt_results_are_refused_with_the_reason(tmp_path: Path, reason: str) -> None:
    file, found = tmp_path / "r.json", complete_file()
    CORRUPTIONS[reason](found)
    file.write_bytes(orjson.dumps(found))
    with pytest.raises(ValueError, match="does not hold results of a load test") as refused:
        Results.read(file)
    assert reason in str(refused.value)


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"null", b"\xff\xfe", b"[" * 100_000, b'{"format": "vo'])
def test_other_files_are_refused(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "r.json"
    file.write_bytes(data)
    with pytest.raises(ValueError, match="does not hold results of a load test"):
        Results.read(file)


def test_a_page_never_replaces_its_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "r.html"
    file.write_bytes(orjson.dumps(complete_file()))
    monkeypatch.setattr("sys.argv", ["page", str(file)])
    with pytest.raises(SystemExit) as refused:
        page.main()
    assert refused.value.code == 2
    assert Results.read(file).runs
