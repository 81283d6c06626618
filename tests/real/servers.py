"""Real agents as processes of their own, in front of the model of the tests. Nothing leaves the loopback.

    with Model() as model, openhands(folder, model.url) as server:
        ...   # server.url, server.key

What a server writes stays in the folder: its log, its home, its conversations.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

from loadtests.servers.launch import free_port
from tests.real.model import NAME
from tests.real.setup import FOLDER, HERMES, OPENHANDS, Recipe

READY = 90.0
"""Seconds that a server has to become healthy."""
STOP = 10.0
"""Seconds that a server has to end when told to; then it is killed."""
KEY = "only-for-tests-on-this-machine-0123456789"

HERMES_CONFIG = """\
model:
  default: {model}
  provider: custom
  base_url: {url}
  api_key: none
"""


class NotReady(Exception):
    """The server did not come up; the message has the end of its log."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running agent. `url` has no path; `folder` holds its `log` and all that it keeps."""

    url: str
    key: str
    model_url: str
    folder: Path
    log: Path
    pid: int


@contextlib.contextmanager
def openhands(folder: Path, model_url: str, **more: str) -> Iterator[Server]:
    """The OpenHands agent server; `more` are environment variables, such as OH_MAX_CONCURRENT_RUNS."""
    port = free_port()
    command = [python(OPENHANDS), "-m", "openhands.agent_server", "--host", "127.0.0.1", "--port", str(port)]
    paths = {
        "OH_PERSISTENCE_DIR": "persistence",
        "OH_CONVERSATIONS_PATH": "conversations",
        "OH_BASH_EVENTS_DIR": "bash",
        "OH_WORKSPACE_PATH": "workspace",
        "OH_CONVERSATION_WORKTREE_ROOT": "worktrees",
    }
    env = {
        **{name: str(made(folder / path)) for name, path in paths.items()},
        "OH_ENABLE_VSCODE": "0",
        "OH_PRELOAD_TOOLS": "0",
        "OH_SECRET_KEY": KEY,
        "OH_SESSION_API_KEYS_0": KEY,
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # else its import looks for prices in the network
        **more,
    }
    with running(command, folder, env, port, "/ready", model_url) as server:
        yield server


@contextlib.contextmanager
def hermes(folder: Path, model_url: str, **more: str) -> Iterator[Server]:
    """The API server of Hermes; `more` are environment variables."""
    port = free_port()
    home = made(folder / "hermes")
    (home / "config.yaml").write_text(HERMES_CONFIG.format(model=NAME, url=model_url), "utf-8")
    env = {
        "HERMES_HOME": str(home),
        "API_SERVER_ENABLED": "true",
        "API_SERVER_KEY": KEY,
        "API_SERVER_HOST": "127.0.0.1",
        "API_SERVER_PORT": str(port),
        **more,
    }
    command = [str(Path(python(HERMES)).with_name("hermes")), "gateway", "run"]
    with running(command, folder, env, port, "/health", model_url) as server:
        yield server


def missing(recipe: Recipe) -> str:
    """Why an agent cannot be started here; nothing when it can."""
    return (
        ""
        if recipe.ready()
        else f"{recipe.name} is not in {FOLDER}: python -m tests.real.setup {recipe.name}"
    )


def python(recipe: Recipe) -> str:
    return str(recipe.python())


def made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def outside(folder: Path) -> dict[str, str]:
    """What every server sees of the machine: a home of its own, and no way but to the loopback.

    Port 9 answers nobody: who obeys the proxy settings meets a closed door there at once.
    """
    closed = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), "http://127.0.0.1:9")
    return {
        **closed,
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
        "PATH": os.environ.get("PATH", os.defpath),
        "LANG": "C.UTF-8",
        "HOME": str(made(folder / "home")),
        "TMPDIR": str(made(folder / "tmp")),
        "TMUX_TMPDIR": str(made(folder / "tmux")),
        "DO_NOT_TRACK": "1",
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


@contextlib.contextmanager
def running(
    command: list[str], folder: Path, env: Mapping[str, str], port: int, health: str, model_url: str
) -> Iterator[Server]:
    """A server that is healthy, and stopped at the end with all that it started."""
    made(folder)
    log, env = folder / "log", {**outside(folder), **env}
    with log.open("ab") as out:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        await_healthy(process, url + health, log)
        yield Server(url, KEY, model_url, folder, log, process.pid)
    finally:
        stop(process)
        stop_terminals(folder / "tmux", env)


def await_healthy(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    until = time.monotonic() + READY
    while not healthy(url):
        if process.poll() is not None or time.monotonic() > until:
            raise NotReady("\n".join(log.read_text("utf-8", "replace").splitlines()[-20:]))
        time.sleep(0.1)


def healthy(url: str) -> bool:
    try:
        with build_opener(ProxyHandler({})).open(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except (URLError, OSError):
        return False


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ask the server to end, and kill what is left of its group, which is its own."""
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def stop_terminals(folder: Path, env: Mapping[str, str]) -> None:
    """End the terminals that outlived their server: no children of it, but their sockets are here."""
    tmux = shutil.which("tmux")
    for socket in folder.glob("*/*") if tmux else ():
        if socket.is_socket():
            subprocess.run(
                [str(tmux), "-S", socket, "kill-server"], env=env, capture_output=True, check=False
            )
