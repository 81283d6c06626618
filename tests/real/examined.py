"""`voicegw doctor` as an operator runs it, in front of a real agent."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PATIENCE = 120.0
"""Seconds until a test gives up."""


def examined(folder: Path, table: str, **environ: str) -> tuple[int, dict[str, Any]]:
    """The exit status, and what was found out about the one agent of this configuration."""
    file = folder / "voicegw.toml"
    file.write_text(table, "utf-8")
    command = [sys.executable, "-m", "voicegw", "doctor", str(file), "--json"]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **environ}, capture_output=True, timeout=PATIENCE, check=False
    )
    assert done.stderr == b""
    [found] = json.loads(done.stdout)
    return done.returncode, found
