"""Runs `voicegw doctor` against a real agent, as an operator does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
TIMEOUT = 120.0
"""Seconds that the command may take."""


def run_doctor(folder: Path, config: str, **environ: str) -> tuple[int, dict[str, Any]]:
    """Return the exit status, and the report on the one agent of this configuration."""
    file = folder / "voicegw.toml"
    file.write_text(config, "utf-8")
    command = [sys.executable, "-m", "voicegw", "doctor", str(file), "--json"]
    process = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **environ}, capture_output=True, timeout=TIMEOUT, check=False
    )
    assert process.stderr == b""
    [report] = json.loads(process.stdout)
    return process.returncode, report
