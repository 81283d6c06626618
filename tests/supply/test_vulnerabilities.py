"""The audit: findings and gaps fail, a database that proves nothing skips with a clear word."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from tests.supply import vulnerabilities
from tests.supply.vulnerabilities import AuditReport, NoDatabase, judge, parse_report, run_audit

KNOWN = AuditReport(["jinja2"], [], ["jinja2 2.4.1: PYSEC-2014-8"])
CLEAN = AuditReport(["orjson", "uvloop"])


def test_report_separates_audited_unknown_and_vulnerable_packages() -> None:
    packages = [
        {"name": "orjson", "version": "3.13.0", "vulns": []},
        {"name": "uvloop", "skip_reason": "not found"},
        {"name": "jinja2", "version": "2.4.1", "vulns": [{"id": "A-1"}, {"id": "A-2"}]},
    ]
    report = parse_report({"dependencies": packages, "fixes": []})
    assert report == AuditReport(["orjson", "jinja2"], ["uvloop"], ["jinja2 2.4.1: A-1, A-2"])


@pytest.mark.parametrize(
    ("report", "code", "line"),
    [
        (CLEAN, 0, "a.lock: 2 packages audited, 0 with vulnerabilities"),
        (AuditReport(["orjson"], ["uvloop"]), 1, "  not in the database, so not audited: uvloop"),
        (KNOWN, 1, "  jinja2 2.4.1: PYSEC-2014-8"),
    ],
)
def test_only_a_complete_audit_without_findings_passes(report: AuditReport, code: int, line: str) -> None:
    found, lines = judge(KNOWN, {"a.lock": report})
    assert found == code
    assert line in lines


@pytest.mark.parametrize(
    ("control", "reason"),
    [(None, "cannot be reached"), (AuditReport([], ["jinja2"]), "knows no vulnerability of jinja2==2.4.1")],
)
def test_database_without_knowledge_skips_and_says_so(control: AuditReport | None, reason: str) -> None:
    code, [line] = judge(control, {})
    assert code == 0
    assert line.startswith("SKIPPED, nothing was audited: ")
    assert reason in line


def program(folder: Path, source: str) -> str:
    """Return the path of a shell program with this source."""
    file = folder / "audit"
    file.write_text(f"#!/bin/sh\n{source}\n")
    file.chmod(file.stat().st_mode | stat.S_IXUSR)
    return str(file)


def test_program_without_a_report_is_no_audit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = program(tmp_path, "echo 'Name or service not known' >&2; exit 1")
    with pytest.raises(NoDatabase, match="Name or service not known"):
        run_audit(broken, "-r", "a.lock")
    assert vulnerabilities.main([broken, "a.lock"]) == 0
    assert "SKIPPED" in capsys.readouterr().out


def test_locks_are_audited_once_the_control_was_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The program stands for pip-audit with a database: it knows the control, and one package of the lock."""
    found = '{"dependencies":[{"name":"jinja2","version":"2.4.1","vulns":[{"id":"A-1"}]}]}'
    clean = '{"dependencies":[{"name":"orjson","version":"3.13.0","vulns":[]}]}'
    knowing = program(
        tmp_path, f"case \"$*\" in *--no-deps*) echo '{found}'; exit 1;; *) echo '{clean}';; esac"
    )
    assert vulnerabilities.main([knowing, "a.lock"]) == 0
    assert capsys.readouterr().out == "a.lock: 1 packages audited, 0 with vulnerabilities\n"
