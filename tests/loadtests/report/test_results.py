"""A file of results is read whole or refused with the reason."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from loadtests.report import page
from loadtests.report.results import Check, Overhead, Results, Run, Sample

BREAKS: dict[str, Callable[[dict[str, Any]], object]] = {
    "format is 'voicegw-load/2'": lambda found: found.update(format="voicegw-load/2"),
    "runs": lambda found: found.pop("runs"),
    "notes of a results is no list": lambda found: found.update(notes="none"),
    "environment of a results is no dict": lambda found: found.update(environment=[]),
    "target of a run is no str": lambda found: found["runs"][0].update(target=None),
    "offered of a run is no float": lambda found: found["runs"][0].update(offered="1"),
    "times are not whole": lambda found: found["runs"][0]["times"].update(at=[]),
    "a run's times are not whole": lambda found: found["runs"][0]["times"].pop("gap"),
    "a run's times are no numbers": lambda found: found["runs"][0]["times"].update(at=["1"]),
    "failures are not counted": lambda found: found["runs"][0].update(failed={"x": "many"}),
    "cpu of a sample is no float": lambda found: found["runs"][0]["samples"][0].update(cpu=None),
    "ok of a check is no bool": lambda found: found["runs"][0]["checks"][0].update(ok="yes"),
    "low of a overhead is no float": lambda found: found["overheads"][0].update(low=[]),
    "unexpected keyword": lambda found: found["runs"][0].update(more=1),
}


def whole() -> dict[str, Any]:
    run = Run(
        "a", "S", "open", 1.0, 1.0, samples=[Sample(0.0, 0, 1, 1, 1)], checks=[Check("c", True, "", "")]
    )
    run.add(at=0.0, answer=1)
    made = Results({"seed": 1}, [run], [Overhead("a", "S", 0.5, 0.1, 0.1, 0.1)], ["a note"])
    return {"format": "voicegw-load/1", **orjson.loads(orjson.dumps(made))}


def test_what_was_written_is_read(tmp_path: Path) -> None:
    file = tmp_path / "r.json"
    file.write_bytes(orjson.dumps(whole()))
    assert orjson.loads(orjson.dumps(Results.read(file))) | {"format": "voicegw-load/1"} == whole()


@pytest.mark.parametrize("why", BREAKS)
def test_what_is_not_whole_is_refused_with_the_reason(tmp_path: Path, why: str) -> None:
    file, found = tmp_path / "r.json", whole()
    BREAKS[why](found)
    file.write_bytes(orjson.dumps(found))
    with pytest.raises(ValueError, match="holds no results of a load test") as refused:
        Results.read(file)
    assert why in str(refused.value)


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"null", b"\xff\xfe", b"[" * 100_000, b'{"format": "vo'])
def test_what_is_no_file_of_results_is_refused(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "r.json"
    file.write_bytes(data)
    with pytest.raises(ValueError, match="holds no results of a load test"):
        Results.read(file)


def test_a_page_never_replaces_the_results_that_it_is_made_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "r.html"
    file.write_bytes(orjson.dumps(whole()))
    monkeypatch.setattr("sys.argv", ["page", str(file)])
    with pytest.raises(SystemExit) as refused:
        page.main()
    assert refused.value.code == 2
    assert Results.read(file).runs
