"""Starts real agents as processes that use the fake model. Nothing leaves the loopback interface.

    with FakeModel() as model, serve_openhands(folder, model.url) as server:
        ...   # server.url, server.key

Everything that a server writes stays in the folder: its log, its home, its conversations.
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
from tests.real.model import MODEL_NAME
from tests.real.setup import ENVIRONMENTS, HERMES, OPENHANDS, Recipe

READY_TIMEOUT = 90.0
"""Seconds that a server gets to become healthy."""
STOP_TIMEOUT = 10.0
"""Seconds that a server gets to end after SIGTERM; then it is killed."""
KEY = "only-for-tests-on-this-machine-0123456789"

HERMES_CONFIG = """\
model:
  default: {model}
  provider: custom
  base_url: {url}
  api_key: none
"""


class NotReady(Exception):
    """The server did not become healthy; the message has the end of its log."""


@dataclass(frozen=True, slots=True)
class AgentServer:
    """A running agent. `url` has no path; `folder` holds its `log` and its other files."""

    url: str
    key: str
    model_url: str
    folder: Path
    log: Path
    pid: int


@contextlib.contextmanager
def serve_openhands(folder: Path, model_url: str, **more: str) -> Iterator[AgentServer]:
    """Serve the OpenHands agent server; `more` are environment variables, such as OH_MAX_CONCURRENT_RUNS."""
    port = free_port()
    command = [
        interpreter_path(OPENHANDS),
        "-m",
        "openhands.agent_server",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    paths = {
        "OH_PERSISTENCE_DIR": "persistence",
        "OH_CONVERSATIONS_PATH": "conversations",
        "OH_BASH_EVENTS_DIR": "bash",
        "OH_WORKSPACE_PATH": "workspace",
        "OH_CONVERSATION_WORKTREE_ROOT": "worktrees",
    }
    env = {
        **{name: str(make_folder(folder / path)) for name, path in paths.items()},
        "OH_ENABLE_VSCODE": "0",
        "OH_PRELOAD_TOOLS": "0",
        "OH_SECRET_KEY": KEY,
        "OH_SESSION_API_KEYS_0": KEY,
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # else its import loads prices from the network
        **more,
    }
    with run_server(command, folder, env, port, "/ready", model_url) as server:
        yield server


@contextlib.contextmanager
def serve_hermes(folder: Path, model_url: str, **more: str) -> Iterator[AgentServer]:
    """Serve the API server of Hermes; `more` are environment variables."""
    port = free_port()
    home = make_folder(folder / "hermes")
    (home / "config.yaml").write_text(HERMES_CONFIG.format(model=MODEL_NAME, url=model_url), "utf-8")
    env = {
        "HERMES_HOME": str(home),
        "API_SERVER_ENABLED": "true",
        "API_SERVER_KEY": KEY,
        "API_SERVER_HOST": "127.0.0.1",
        "API_SERVER_PORT": str(port),
        **more,
    }
    command = [str(Path(interpreter_path(HERMES)).with_name("hermes")), "gateway", "run"]
    with run_server(command, folder, env, port, "/health", model_url) as server:
        yield server


def missing_reason(recipe: Recipe) -> str:
    """Return why an agent cannot be started here, "" if it can."""
    return (
        ""
        if recipe.is_installed()
        else f"{recipe.name} is not in {ENVIRONMENTS}: python -m tests.real.setup {recipe.name}"
    )


def interpreter_path(recipe: Recipe) -> str:
    return str(recipe.python())


def make_folder(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def base_environment(folder: Path) -> dict[str, str]:
    """Return the environment of every server: a separate home, and proxies that refuse connections.

    Nothing listens on port 9, so a client that obeys the proxy settings fails at once.
    """
    proxies = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), "http://127.0.0.1:9")
    return {
        **proxies,
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
        "PATH": os.environ.get("PATH", os.defpath),
        "LANG": "C.UTF-8",
        "HOME": str(make_folder(folder / "home")),
        "TMPDIR": str(make_folder(folder / "tmp")),
        "TMUX_TMPDIR": str(make_folder(folder / "tmux")),
        "DO_NOT_TRACK": "1",
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


@contextlib.contextmanager
def run_server(
    command: list[str], folder: Path, env: Mapping[str, str], port: int, health: str, model_url: str
) -> Iterator[AgentServer]:
    """Start a server, wait until it is healthy, and stop it and its child processes at exit."""
    make_folder(folder)
    log, env = folder / "log", {**base_environment(folder), **env}
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
        wait_until_healthy(process, url + health, log)
        yield AgentServer(url, KEY, model_url, folder, log, process.pid)
    finally:
        stop(process)
        stop_terminals(folder / "tmux", env)


def wait_until_healthy(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + READY_TIMEOUT
    while not is_healthy(url):
        if process.poll() is not None or time.monotonic() > deadline:
            raise NotReady("\n".join(log.read_text("utf-8", "replace").splitlines()[-20:]))
        time.sleep(0.1)


def is_healthy(url: str) -> bool:
    try:
        with build_opener(ProxyHandler({})).open(url, timeout=5) as response:
            return bool(response.status == 200)
    except (URLError, OSError):
        return False


def stop(process: subprocess.Popen[bytes]) -> None:
    """Terminate the server, and kill the rest of its process group, which is separate from ours."""
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_TIMEOUT)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def stop_terminals(folder: Path, env: Mapping[str, str]) -> None:
    """End the tmux servers of terminals: they are no children of the server, but their sockets are here."""
    tmux = shutil.which("tmux")
    for socket in folder.glob("*/*") if tmux else ():
        if socket.is_socket():
            subprocess.run(
                [str(tmux), "-S", socket, "kill-server"], env=env, capture_output=True, check=False
            )
