"""The agent that `voicegw new-agent` writes answers, and nothing is overwritten."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from voicegw.cli import FAILED, OK, main


@pytest.mark.wire
def test_the_agent_that_is_written_is_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "started_agent.py"
    assert main(["new-agent", str(file)]) == OK
    told = capsys.readouterr().out
    config = tmp_path / "voicegw.toml"
    config.write_text(told.split("\n\n")[1], "utf-8")
    assert f"voicegw doctor {config}" in told
    assert main(["doctor", str(config), "--json"]) == OK
    [found] = json.loads(capsys.readouterr().out)
    assert (found["agent"], found["well"], found["advice"]) == ("started_agent", True, [])


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("my-agent.py", "one that Python can import"),
        ("agent", "one that Python can import"),
        ("1st.py", "one that Python can import"),
        ("class.py", "one that Python can import"),
        ("json.py", "there is a module of this name already"),
        ("pytest.py", "there is a module of this name already"),
        ("there.py", "File exists"),
        ("nowhere/agent.py", "No such file"),
    ],
)
def test_what_cannot_be_written_is_told(
    name: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "there.py").write_text("mine", "utf-8")
    assert main(["new-agent", str(tmp_path / name)]) == FAILED
    assert says in capsys.readouterr().err
    assert (tmp_path / "there.py").read_text("utf-8") == "mine"
