"""`voicegw new-agent` writes an agent that answers, and overwrites no file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from voicegw.cli import FAILED, OK, main


@pytest.mark.wire
def test_the_doctor_finds_no_fault_in_the_written_agent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "started_agent.py"
    assert main(["new-agent", str(file)]) == OK
    printed = capsys.readouterr().out
    config = tmp_path / "voicegw.toml"
    config.write_text(printed.split("\n\n")[1], "utf-8")
    assert f"voicegw doctor {config}" in printed
    assert main(["doctor", str(config), "--json"]) == OK
    [report] = json.loads(capsys.readouterr().out)
    assert (report["agent"], report["well"], report["advice"]) == ("started_agent", True, [])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("my-agent.py", "one that Python can import"),
        ("agent", "one that Python can import"),
        ("1st.py", "one that Python can import"),
        ("class.py", "one that Python can import"),
        ("json.py", "a module of this name exists already"),
        ("pytest.py", "a module of this name exists already"),
        ("there.py", "File exists"),
        ("nowhere/agent.py", "No such file"),
    ],
)
def test_a_file_that_cannot_be_written_is_reported(
    name: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "there.py").write_text("mine", "utf-8")
    assert main(["new-agent", str(tmp_path / name)]) == FAILED
    assert message in capsys.readouterr().err
    assert (tmp_path / "there.py").read_text("utf-8") == "mine"
