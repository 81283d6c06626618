"""The commands of SECURITY.md, the lock files, and `make base-digest` with a program in place of docker."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCKS = sorted(ROOT.glob("requirements*.lock"))
DIGEST = "sha256:" + "0123456789abcdef" * 4


def make(*arguments: str, folder: Path = ROOT, **environ: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("make")
    assert program is not None
    return subprocess.run(
        [program, *arguments],
        cwd=folder,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        check=False,
    )


def locked(path: Path) -> dict[str, str]:
    """Return the packages of a lock file with their versions."""
    return dict(re.findall(r"^([a-z0-9._-]+)==([^ ]+)", path.read_text("utf-8"), re.M))


def test_commands_of_the_page_are_targets_of_the_makefile() -> None:
    targets = re.findall(r"^make ([a-z-]+) ", (ROOT / "SECURITY.md").read_text("utf-8"), re.M)
    assert targets == ["audit", "sbom", "base-digest"]
    for target in targets:
        assert make("-n", target).returncode == 0


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.name)
def test_lock_files_have_hashes_and_name_no_host(path: Path) -> None:
    text = path.read_text("utf-8")
    entries = re.split(r"^(?=[a-z])", text, flags=re.M)[1:]
    assert len(entries) > 20
    assert [entry.split("=")[0] for entry in entries if "--hash=sha256:" not in entry] == []
    assert "://" not in text
    assert "index-url" not in text


def test_locked_packages_of_the_image_are_those_of_the_tests() -> None:
    assert locked(ROOT / "requirements.lock").items() <= locked(ROOT / "requirements-dev.lock").items()


def test_base_digest_needs_docker_and_changes_nothing_without_it(tmp_path: Path) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    shutil.copy(ROOT / "Dockerfile", tmp_path)
    done = make("base-digest", folder=tmp_path, PATH=str(tmp_path))
    assert done.returncode != 0
    assert "no docker is installed" in done.stdout
    assert (tmp_path / "Dockerfile").read_bytes() == (ROOT / "Dockerfile").read_bytes()


def test_base_digest_pins_both_stages_to_what_the_registry_says(tmp_path: Path) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    shutil.copy(ROOT / "Dockerfile", tmp_path)
    registry = tmp_path / "docker"
    registry.write_text(f"#!/bin/sh\n[ \"$1 $2 $3\" = 'buildx imagetools inspect' ] && echo {DIGEST}\n")
    registry.chmod(0o755)
    for _ in range(2):  # the second run replaces the digest of the first
        assert make("base-digest", folder=tmp_path, PATH=f"{tmp_path}:{os.environ['PATH']}").returncode == 0
    [build, final] = re.findall(r"^FROM (\S+)", (tmp_path / "Dockerfile").read_text("utf-8"), re.M)
    assert build == final
    assert re.fullmatch(rf"python:3\.\d+-slim-[a-z]+@{DIGEST}", build)
