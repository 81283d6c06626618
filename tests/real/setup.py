"""Set up real agents, each in a virtual environment of its own.

    python -m tests.real.setup [openhands] [hermes] [--into FOLDER]

Without names it sets up all of them. What is there already is left alone; the packages come from where
pip is told to find them. The exit status is 0 when everything asked for is there at the end.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parents[2] / ".agents"
VERSION = "import sys; print(*sys.version_info[:2])"
INSTALLED = (
    "import sys; from importlib.metadata import version as v; print(*(f'{n}=={v(n)}' for n in sys.argv[1:]))"
)


class Impossible(Exception):
    """An agent cannot be set up; the message says why."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """What an agent needs: its packages, and the Python versions that they run on, best first."""

    name: str
    packages: tuple[str, ...]
    pythons: tuple[tuple[int, int], ...]

    def python(self, into: Path = FOLDER) -> Path:
        """The interpreter of its environment."""
        return into / self.name / "bin" / "python"

    def ready(self, into: Path = FOLDER) -> bool:
        """Whether its environment holds these very versions."""
        pinned = [package for package in self.packages if "==" in package]
        names = [package.partition("==")[0] for package in self.packages]
        return set(pinned) <= set(told(self.python(into), INSTALLED, *names).split())


OPENHANDS = Recipe(
    "openhands",
    tuple(f"openhands-{part}==1.58.0" for part in ("agent-server", "sdk", "tools", "workspace")),
    ((3, 12), (3, 13)),
)
HERMES = Recipe("hermes", ("hermes-agent==0.19.0", "aiohttp"), ((3, 12), (3, 11), (3, 13)))
RECIPES = {recipe.name: recipe for recipe in (OPENHANDS, HERMES)}


def told(python: Path, source: str, *arguments: str) -> str:
    """What a little program prints; nothing where it fails or there is no such interpreter."""
    try:
        done = subprocess.run(
            [python, "-I", "-c", source, *arguments], capture_output=True, text=True, timeout=60, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def candidates(version: tuple[int, int]) -> Iterator[Path]:
    """Where an interpreter of this version may be."""
    name = "python{}.{}".format(*version)
    yield Path(sys.executable)
    found = shutil.which(name)
    if found:
        yield Path(found)
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    yield from sorted(pyenv.glob("versions/{}.{}.*/bin/python".format(*version)), reverse=True)


def interpreter(recipe: Recipe) -> Path:
    """A Python that the agent runs on. Raises Impossible when there is none."""
    for version in recipe.pythons:
        wanted = "{} {}\n".format(*version)
        for python in candidates(version):
            if told(python, VERSION) == wanted:
                return python
    known = ", ".join("{}.{}".format(*version) for version in recipe.pythons)
    raise Impossible(f"it needs Python {known}, and none is on the PATH or among the versions of pyenv")


def run(command: list[str | Path], log: Path) -> None:
    """Run a step, with what it says kept beside the environment. Raises Impossible when it fails."""
    with log.open("ab") as out:
        code = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, check=False
        ).returncode
    if code:
        last = log.read_text("utf-8", "replace").strip().splitlines()[-1:] or ["nothing"]
        raise Impossible(f"{Path(command[0]).name} failed and said: {last[0]} (more in {log})")


def set_up(recipe: Recipe, into: Path) -> None:
    """Make the environment and fill it. Raises Impossible when it cannot be done."""
    if recipe.ready(into):
        print(f"{recipe.name}: is there already")
        return
    into.mkdir(parents=True, exist_ok=True)
    (into / ".gitignore").write_text("*\n", "utf-8")
    log, python, began = into / f"{recipe.name}.log", recipe.python(into), time.monotonic()
    if not told(python, "import pip; print('yes')"):
        base = interpreter(recipe)
        print(f"{recipe.name}: makes an environment with {base}", flush=True)
        run([base, "-m", "venv", "--clear", into / recipe.name], log)
    print(f"{recipe.name}: installs {', '.join(recipe.packages)}; this takes minutes", flush=True)
    run([python, "-m", "pip", "install", "--progress-bar", "off", *recipe.packages], log)
    if not recipe.ready(into):
        raise Impossible(f"the packages are not the versions asked for (more in {log})")
    print(f"{recipe.name}: is ready after {time.monotonic() - began:.0f} s")


def main() -> int:
    """0 when every agent asked for is there, 1 otherwise."""
    parser = argparse.ArgumentParser(prog="tests.real.setup", description="Set up real agents to test with.")
    parser.add_argument("names", nargs="*", metavar="agent", help=f"of {', '.join(RECIPES)}; all by default")
    parser.add_argument("--into", type=Path, default=FOLDER, help="the folder of the environments")
    options = parser.parse_args()
    unknown = set(options.names) - set(RECIPES)
    if unknown:
        parser.error(f"no such agent: {', '.join(sorted(unknown))}")
    missing = 0
    for name in options.names or RECIPES:
        try:
            set_up(RECIPES[name], options.into.resolve())
        except Impossible as error:
            print(f"{name}: cannot be set up: {error}", file=sys.stderr)
            missing += 1
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
