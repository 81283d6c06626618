"""Other gateways for the comparison: how each is installed, in a separate environment, and how it is started.

    python -m loadtests.servers.peers [litellm] [portkey]

A peer that is installed in the pinned version is kept. The packages come from the sources that pip and npm
are configured to use. Each peer runs in its fastest documented set-up that is fit for production: one
worker, no database, no cache, no callbacks, logs of errors only, next to the same upstream.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import orjson

PEERS_FOLDER = Path(__file__).parents[2] / ".peers"
LITELLM_VERSION = "1.106.0"
PORTKEY_VERSION = "1.15.2"
NODE_SERVER_VERSION = "1.13.8"
"""Version of `@hono/node-server`: with its newest 1.x Portkey answers every streamed request with
status 500.
"""
INSTALL_TIMEOUT = 900.0
"""Seconds that one step of an installation may take."""

LITELLM_CONFIG = """\
model_list:
  - model_name: "*"
    litellm_params:
      model: openai/*
      api_base: http://127.0.0.1:{upstream}/v1
      api_key: none
"""


class NotReady(Exception):
    """The server did not start, or cannot be installed; the message says why."""


@dataclass(frozen=True, slots=True)
class LaunchSpec:
    """How to start a server: its command, and the seconds until it must listen.

    Callers send `key` and `headers`. `env` is added to the environment; it may hold the key, so it is never
    written to a file.
    """

    argv: list[str]
    env: Mapping[str, str] = field(default_factory=dict)
    key: str = "none"
    headers: Mapping[str, str] = field(default_factory=dict)
    ready_timeout: float = 15.0
    version: str = ""


def launch_litellm(port: int, upstream: int, folder: Path, key: str) -> LaunchSpec:
    """Return how to start LiteLLM's proxy as its production page describes.

    It does not start without a master key. Raises NotReady when it is not installed.
    """
    if litellm_version() != LITELLM_VERSION:
        raise NotReady(f"LiteLLM {LITELLM_VERSION} is not installed: `make compare` installs it")
    config = folder / "litellm.yaml"
    config.write_text(LITELLM_CONFIG.format(upstream=upstream))
    options = ["--config", str(config), "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]
    key = f"sk-{key}"
    env = {
        "LITELLM_MASTER_KEY": key,
        "LITELLM_MODE": "PRODUCTION",
        "LITELLM_LOG": "ERROR",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # no download at start
    }
    program = str(PEERS_FOLDER / "litellm" / "bin" / "litellm")
    return LaunchSpec([program, *options], env, key, ready_timeout=120.0, version=LITELLM_VERSION)


def launch_portkey(port: int, upstream: int, folder: Path, key: str) -> LaunchSpec:
    """Return how to start Portkey's gateway on node.

    Headers of a request name its upstream; there are no keys. Raises NotReady when it, or node, is not
    installed.
    """
    if portkey_version() != PORTKEY_VERSION:
        raise NotReady(f"Portkey {PORTKEY_VERSION} is not installed: `make compare` installs it")
    node = shutil.which("node")
    if not node:
        raise NotReady("node is not installed")
    program = (
        PEERS_FOLDER / "portkey" / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"
    )
    headers = {
        "x-portkey-provider": "openai",
        "x-portkey-custom-host": f"http://127.0.0.1:{upstream}/v1",
    }
    argv = [node, str(program), f"--port={port}", "--headless"]
    return LaunchSpec(
        argv, {"NODE_ENV": "production"}, key, headers, ready_timeout=60.0, version=PORTKEY_VERSION
    )


PEERS = {"litellm": launch_litellm, "portkey": launch_portkey}


def litellm_version() -> str:
    """Return the installed version; "" if there is none."""
    found = sorted(PEERS_FOLDER.glob("litellm/lib/python*/site-packages/litellm-*.dist-info"))
    return found[-1].name.removeprefix("litellm-").removesuffix(".dist-info") if found else ""


def portkey_version() -> str:
    """Return the installed version; "" if there is none."""
    with contextlib.suppress(OSError, ValueError, KeyError):
        package = PEERS_FOLDER / "portkey" / "node_modules" / "@portkey-ai" / "gateway" / "package.json"
        return str(orjson.loads(package.read_bytes())["version"])
    return ""


def run_step(argv: Sequence[str | Path], log: Path, cwd: Path | None = None) -> None:
    """Run one step of an installation, with its output in the log. Raises NotReady when it fails."""
    with log.open("ab") as out:
        try:
            done = subprocess.run(
                argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=cwd, timeout=INSTALL_TIMEOUT
            )
        except subprocess.TimeoutExpired:
            raise NotReady(
                f"{Path(argv[0]).name} took more than {INSTALL_TIMEOUT:.0f} s (see {log})"
            ) from None
        except OSError as error:
            raise NotReady(f"{argv[0]}: {error.strerror}") from None
    if done.returncode:
        errors = [line for line in log.read_text(errors="replace").splitlines() if "error" in line.lower()][
            -1:
        ]
        raise NotReady(f"{''.join(errors)[:300] or 'the installer failed'} (see {log})")


def install_litellm() -> None:
    folder, log = PEERS_FOLDER / "litellm", PEERS_FOLDER / "litellm.log"
    run_step([sys.executable, "-m", "venv", "--clear", folder], log)
    pip: list[str | Path] = [folder / "bin" / "python", "-m", "pip", "--disable-pip-version-check"]
    run_step([*pip, "install", "-q", f"litellm[proxy]=={LITELLM_VERSION}"], log)


def install_portkey() -> None:
    folder, log = PEERS_FOLDER / "portkey", PEERS_FOLDER / "portkey.log"
    if not shutil.which("npm"):
        raise NotReady("npm is not installed")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    package = {
        "private": True,
        "dependencies": {"@portkey-ai/gateway": PORTKEY_VERSION},
        "overrides": {"@hono/node-server": NODE_SERVER_VERSION},
    }
    (folder / "package.json").write_bytes(orjson.dumps(package))
    run_step(["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts"], log, cwd=folder)


def install(name: str) -> str:
    """Install a peer unless it is installed, and return a sentence about it. Raises NotReady on failure."""
    wanted, version, run_install = {
        "litellm": (LITELLM_VERSION, litellm_version, install_litellm),
        "portkey": (PORTKEY_VERSION, portkey_version, install_portkey),
    }[name]
    if version() == wanted:
        return f"{name} {wanted} is already installed"
    PEERS_FOLDER.mkdir(exist_ok=True)
    print(f"{name}: installing {wanted} into {PEERS_FOLDER / name}; this may take minutes", flush=True)
    run_install()
    if version() != wanted:
        raise NotReady(f"{version() or 'nothing'} was installed instead of {wanted}")
    return f"{name} {wanted} is installed"


def main() -> int:
    """Return 0 when every requested peer is installed, 1 otherwise; print the reason for each that is not."""
    parser = argparse.ArgumentParser(description="Install the gateways that voicegw is compared with.")
    parser.add_argument("names", nargs="*", metavar="peer", help=f"{' or '.join(PEERS)} (default: all)")
    names = parser.parse_args().names or list(PEERS)
    if unknown := set(names) - set(PEERS):
        parser.error(f"unknown peer {', '.join(sorted(unknown))}: use {' or '.join(PEERS)}")
    missing = 0
    for name in names:
        try:
            print(install(name))
        except NotReady as error:
            print(f"{name} cannot be installed: {error}", file=sys.stderr)
            missing += 1
    return 1 if missing else 0


if __name__ == "__main__":
    os.environ["PIP_NO_INPUT"] = "1"
    sys.exit(main())
