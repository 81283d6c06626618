"""The gateways of others: installed on demand, each in an environment of its own, and how each is started.

    python -m loadtests.servers.peers [litellm] [portkey]

What is there already in its version is left alone. The packages come from where pip and npm are told to
find them. Each peer runs in its fastest documented set-up that is fit for use: one worker, no database,
no cache, no callbacks, logs of errors only, next to the same upstream.
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

FOLDER = Path(__file__).parents[2] / ".peers"
LITELLM = "1.106.0"
PORTKEY = "1.15.2"
NODE_SERVER = "1.13.8"
"""Of `@hono/node-server`: with its newest 1.x this gateway answers every streamed request with status 500."""
INSTALL = 900.0
"""Seconds that an installation may take."""

LITELLM_CONFIG = """\
model_list:
  - model_name: "*"
    litellm_params:
      model: openai/*
      api_base: http://127.0.0.1:{upstream}/v1
      api_key: none
"""


class NotReady(Exception):
    """The server did not come up, or cannot be installed; the message says why."""


@dataclass(frozen=True, slots=True)
class Launch:
    """What starts a server, the key and the headers that its callers send, and the seconds it may need.

    `env` is added to the environment; it may hold the key, so it is never written to a file.
    """

    argv: list[str]
    env: Mapping[str, str] = field(default_factory=dict)
    key: str = "none"
    headers: Mapping[str, str] = field(default_factory=dict)
    ready: float = 15.0
    version: str = ""


def litellm(port: int, upstream: int, folder: Path, key: str) -> Launch:
    """LiteLLM's proxy as its page on production asks for it; it does not start without a key of its own."""
    if litellm_version() != LITELLM:
        raise NotReady(f"LiteLLM {LITELLM} is not installed; make compare sets it up")
    config = folder / "litellm.yaml"
    config.write_text(LITELLM_CONFIG.format(upstream=upstream))
    options = ["--config", str(config), "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]
    key = f"sk-{key}"
    env = {
        "LITELLM_MASTER_KEY": key,
        "LITELLM_MODE": "PRODUCTION",
        "LITELLM_LOG": "ERROR",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # not from the network
    }
    program = str(FOLDER / "litellm" / "bin" / "litellm")
    return Launch([program, *options], env, key, ready=120.0, version=LITELLM)


def portkey(port: int, upstream: int, folder: Path, key: str) -> Launch:
    """Portkey's gateway on node; a request's headers say where it goes. It knows no keys of its own."""
    if portkey_version() != PORTKEY:
        raise NotReady(f"Portkey {PORTKEY} is not installed; make compare sets it up")
    node = shutil.which("node")
    if not node:
        raise NotReady("node is not installed")
    program = FOLDER / "portkey" / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"
    headers = {
        "x-portkey-provider": "openai",
        "x-portkey-custom-host": f"http://127.0.0.1:{upstream}/v1",
    }
    argv = [node, str(program), f"--port={port}", "--headless"]
    return Launch(argv, {"NODE_ENV": "production"}, key, headers, ready=60.0, version=PORTKEY)


PEERS = {"litellm": litellm, "portkey": portkey}


def litellm_version() -> str:
    """Which one is installed; "" if none."""
    found = sorted(FOLDER.glob("litellm/lib/python*/site-packages/litellm-*.dist-info"))
    return found[-1].name.removeprefix("litellm-").removesuffix(".dist-info") if found else ""


def portkey_version() -> str:
    """Which one is installed; "" if none."""
    with contextlib.suppress(OSError, ValueError, KeyError):
        package = FOLDER / "portkey" / "node_modules" / "@portkey-ai" / "gateway" / "package.json"
        return str(orjson.loads(package.read_bytes())["version"])
    return ""


def run(argv: Sequence[str | Path], log: Path, cwd: Path | None = None) -> None:
    """One step of an installation; what it says goes to the log. Raises NotReady when it fails."""
    with log.open("ab") as out:
        try:
            done = subprocess.run(
                argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=cwd, timeout=INSTALL
            )
        except subprocess.TimeoutExpired:
            raise NotReady(f"{Path(argv[0]).name} took more than {INSTALL:.0f} s (see {log})") from None
        except OSError as error:
            raise NotReady(f"{argv[0]}: {error.strerror}") from None
    if done.returncode:
        said = [line for line in log.read_text(errors="replace").splitlines() if "error" in line.lower()][-1:]
        raise NotReady(f"{''.join(said)[:300] or 'its installer failed'} (see {log})")


def install_litellm() -> None:
    place, log = FOLDER / "litellm", FOLDER / "litellm.log"
    run([sys.executable, "-m", "venv", "--clear", place], log)
    pip: list[str | Path] = [place / "bin" / "python", "-m", "pip", "--disable-pip-version-check"]
    run([*pip, "install", "-q", f"litellm[proxy]=={LITELLM}"], log)


def install_portkey() -> None:
    place, log = FOLDER / "portkey", FOLDER / "portkey.log"
    if not shutil.which("npm"):
        raise NotReady("npm is not installed")
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    wanted = {
        "private": True,
        "dependencies": {"@portkey-ai/gateway": PORTKEY},
        "overrides": {"@hono/node-server": NODE_SERVER},
    }
    (place / "package.json").write_bytes(orjson.dumps(wanted))
    run(["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts"], log, cwd=place)


def set_up(name: str) -> str:
    """Install a peer unless it is there, and say how that went. Raises NotReady when it cannot be done."""
    wanted, version, install = {
        "litellm": (LITELLM, litellm_version, install_litellm),
        "portkey": (PORTKEY, portkey_version, install_portkey),
    }[name]
    if version() == wanted:
        return f"{name} {wanted} is there already"
    FOLDER.mkdir(exist_ok=True)
    print(f"{name}: installs {wanted} into {FOLDER / name}; this may take minutes", flush=True)
    install()
    if version() != wanted:
        raise NotReady(f"{version() or 'nothing'} was installed instead of {wanted}")
    return f"{name} {wanted} is ready"


def main() -> int:
    """0 when every peer asked for is there, 1 otherwise; each that is not is named with the reason."""
    parser = argparse.ArgumentParser(description="Set up the gateways that voicegw is compared with.")
    parser.add_argument("names", nargs="*", metavar="peer", help=f"of {', '.join(PEERS)}; all by default")
    names = parser.parse_args().names or list(PEERS)
    if unknown := set(names) - set(PEERS):
        parser.error(f"no such peer: {', '.join(sorted(unknown))}")
    missing = 0
    for name in names:
        try:
            print(set_up(name))
        except NotReady as error:
            print(f"{name} cannot be set up: {error}", file=sys.stderr)
            missing += 1
    return 1 if missing else 0


if __name__ == "__main__":
    os.environ["PIP_NO_INPUT"] = "1"
    sys.exit(main())
