"""Sets up real agents, each in a separate virtual environment.

    python -m tests.real.setup [openhands] [hermes] [--into FOLDER]

Without names it sets up all of them. It leaves existing environments alone. Packages come from the index that
pip is configured with. The exit status is 0 if all of them are ready at the end.
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

ENVIRONMENTS = Path(__file__).parents[2] / ".agents"
PRINT_VERSION = "import sys; print(*sys.version_info[:2])"
PRINT_PACKAGES = (
    "import sys; from importlib.metadata import version as v; print(*(f'{n}=={v(n)}' for n in sys.argv[1:]))"
)


class SetupError(Exception):
    """An agent cannot be set up; the message says why."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """The packages of an agent, and the Python versions that they run on, best first."""

    name: str
    packages: tuple[str, ...]
    pythons: tuple[tuple[int, int], ...]

    def python(self, into: Path = ENVIRONMENTS) -> Path:
        """Return the path of the interpreter of its environment."""
        return into / self.name / "bin" / "python"

    def is_installed(self, into: Path = ENVIRONMENTS) -> bool:
        """Whether its environment has exactly these versions."""
        pinned = [package for package in self.packages if "==" in package]
        names = [package.partition("==")[0] for package in self.packages]
        return set(pinned) <= set(run_program(self.python(into), PRINT_PACKAGES, *names).split())


OPENHANDS = Recipe(
    "openhands",
    tuple(f"openhands-{part}==1.58.0" for part in ("agent-server", "sdk", "tools", "workspace")),
    ((3, 12), (3, 13)),
)
HERMES = Recipe("hermes", ("hermes-agent==0.19.0", "aiohttp"), ((3, 12), (3, 11), (3, 13)))
RECIPES = {recipe.name: recipe for recipe in (OPENHANDS, HERMES)}


def run_program(python: Path, source: str, *arguments: str) -> str:
    """Return the output of a small program, "" if it fails or the interpreter does not exist."""
    try:
        process = subprocess.run(
            [python, "-I", "-c", source, *arguments], capture_output=True, text=True, timeout=60, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return process.stdout if process.returncode == 0 else ""


def find_interpreters(version: tuple[int, int]) -> Iterator[Path]:
    """Yield paths where an interpreter of this version may be."""
    name = "python{}.{}".format(*version)
    yield Path(sys.executable)
    found = shutil.which(name)
    if found:
        yield Path(found)
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    yield from sorted(pyenv.glob("versions/{}.{}.*/bin/python".format(*version)), reverse=True)


def choose_interpreter(recipe: Recipe) -> Path:
    """Return a Python that the agent runs on. Raises `SetupError` if there is none."""
    for version in recipe.pythons:
        wanted = "{} {}\n".format(*version)
        for python in find_interpreters(version):
            if run_program(python, PRINT_VERSION) == wanted:
                return python
    known = ", ".join("{}.{}".format(*version) for version in recipe.pythons)
    raise SetupError(f"it needs Python {known}, and none is on the PATH or among the versions of pyenv")


def run_step(command: list[str | Path], log: Path) -> None:
    """Run a command with its output in `log`. Raises `SetupError` if it fails."""
    with log.open("ab") as out:
        code = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, check=False
        ).returncode
    if code:
        last = log.read_text("utf-8", "replace").strip().splitlines()[-1:] or ["nothing"]
        raise SetupError(f"{Path(command[0]).name} failed: {last[0]} (more in {log})")


def set_up(recipe: Recipe, into: Path) -> None:
    """Make the environment and install the packages. Raises `SetupError` if that fails."""
    if recipe.is_installed(into):
        print(f"{recipe.name}: is already set up")
        return
    into.mkdir(parents=True, exist_ok=True)
    (into / ".gitignore").write_text("*\n", "utf-8")
    log, python, began = into / f"{recipe.name}.log", recipe.python(into), time.monotonic()
    if not run_program(python, "import pip; print('yes')"):
        base = choose_interpreter(recipe)
        print(f"{recipe.name}: makes an environment with {base}", flush=True)
        run_step([base, "-m", "venv", "--clear", into / recipe.name], log)
    print(f"{recipe.name}: installs {', '.join(recipe.packages)}; this takes minutes", flush=True)
    run_step([python, "-m", "pip", "install", "--progress-bar", "off", *recipe.packages], log)
    if not recipe.is_installed(into):
        raise SetupError(f"the packages are not the versions asked for (more in {log})")
    print(f"{recipe.name}: is ready after {time.monotonic() - began:.0f} s")


def main() -> int:
    """Return 0 if every requested agent is ready, else 1."""
    parser = argparse.ArgumentParser(prog="tests.real.setup", description="Set up real agents to test with.")
    parser.add_argument("names", nargs="*", metavar="agent", help=f"of {', '.join(RECIPES)}; all by default")
    parser.add_argument("--into", type=Path, default=ENVIRONMENTS, help="the folder of the environments")
    options = parser.parse_args()
    unknown = set(options.names) - set(RECIPES)
    if unknown:
        parser.error(f"no such agent: {', '.join(sorted(unknown))}")
    failed = 0
    for name in options.names or RECIPES:
        try:
            set_up(RECIPES[name], options.into.resolve())
        except SetupError as error:
            print(f"{name}: cannot be set up: {error}", file=sys.stderr)
            failed += 1
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
