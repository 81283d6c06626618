"""Audits lock files against a database of vulnerabilities, and reports honestly when none answers.

    python -m tests.supply.vulnerabilities PIP_AUDIT LOCK_FILE...

pip-audit exits with 0 if its database knows no package at all, as behind a mirror or offline. So the database
is first asked about a release with published vulnerabilities, and every package must have been looked up.
The exit code is 0 for "audited" and for "skipped", and 1 for findings and for an incomplete audit.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

CONTROL = "jinja2==2.4.1"
"""A release with published vulnerabilities; a database that knows none of them proves nothing."""
TIMEOUT = 600.0
"""Seconds for one run of pip-audit."""
OPTIONS = ("--disable-pip", "--progress-spinner", "off", "--format", "json", "--timeout", "15")


class NoDatabase(Exception):
    """pip-audit got no answer from its database; the message is its last line."""


@dataclass(slots=True)
class AuditReport:
    """The packages of one lock file by result; a finding has name, version and identifiers."""

    audited: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)


def parse_report(report: dict[str, Any]) -> AuditReport:
    """Return the result of each package in pip-audit's JSON report. Pure."""
    result = AuditReport()
    for package in report["dependencies"]:
        if "skip_reason" in package:
            result.unknown.append(package["name"])
            continue
        result.audited.append(package["name"])
        if found := [entry["id"] for entry in package["vulns"]]:
            result.findings.append(f"{package['name']} {package['version']}: {', '.join(found)}")
    return result


def judge(control: AuditReport | None, reports: dict[str, AuditReport]) -> tuple[int, list[str]]:
    """Return the exit code, and the lines to print. `control` is None without an answer. Pure."""
    if control is None or not control.findings:
        reason = "cannot be reached" if control is None else f"knows no vulnerability of {CONTROL}"
        return 0, [
            f"SKIPPED, nothing was audited: the database {reason}. Run `make audit` with internet access."
        ]
    lines = []
    for lock, report in reports.items():
        lines.append(
            f"{lock}: {len(report.audited)} packages audited, {len(report.findings)} with vulnerabilities"
        )
        lines += [f"  {finding}" for finding in report.findings]
        lines += [f"  not in the database, so not audited: {name}" for name in report.unknown]
    return int(any(report.findings or report.unknown for report in reports.values())), lines


def run_audit(pip_audit: str, *arguments: str, text: str | None = None) -> AuditReport:
    """Run pip-audit; `text` is its standard input. Raises `NoDatabase` without a report."""
    command = [pip_audit, *OPTIONS, *arguments]
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    if not done.stdout.startswith("{"):
        raise NoDatabase((done.stderr.strip().splitlines() or ["no output"])[-1])
    return parse_report(json.loads(done.stdout))


def main(arguments: Sequence[str]) -> int:
    pip_audit, *locks = arguments
    try:
        control = run_audit(pip_audit, "--no-deps", "-r", "/dev/stdin", text=CONTROL)
        reports = {}
        if control.findings:
            reports = {lock: run_audit(pip_audit, "--require-hashes", "-r", lock) for lock in locks}
    except NoDatabase as error:
        print(error, file=sys.stderr)
        control, reports = None, {}
    code, lines = judge(control, reports)
    print(*lines, sep="\n")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
