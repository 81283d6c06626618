"""The command line: serve, check, schema, keys."""

from __future__ import annotations

import argparse
import json
import logging
import os
import re
import signal
import socket
import ssl
import sys
import tempfile
import threading
from collections.abc import Sequence
from typing import Any

import uvicorn
from prometheus_client.multiprocess import mark_process_dead
from starlette.types import ASGIApp
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from voicegw import __version__
from voicegw.app import create_app
from voicegw.config import Config, load, schema
from voicegw.errors import ConfigError
from voicegw.guard import new_key

OK, FAILED, MISUSED = 0, 1, 2
FILE = "VOICEGW_CONFIG"
SERVER = "VOICEGW_SERVER"
METRICS = "PROMETHEUS_MULTIPROC_DIR"
"""How a worker process learns what the command line of its parent said."""

FRAME = 1_048_576
"""Bytes that a message on a websocket may have at least: transcripts of long calls come in one."""
LAST = 3.0
"""Seconds that what will not end gets after everything else has ended."""
ABOUT = "Put any agent on the phone, with nobody waiting in silence."
EXAMPLES = """examples:
  voicegw serve                                 the demo agent on 127.0.0.1:8080, no set-up
  voicegw serve --config voicegw.toml           your agents
  voicegw check voicegw.toml                    say what is wrong with a file, start nothing
  voicegw keys new elevenlabs                   make a key for one platform

exit status: 0 done, 1 failed or something is wrong with the file, 2 wrong use"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except ConfigError as error:
        print(error, file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return OK
    except BrokenPipeError:  # whoever read our output had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK


def _parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("voicegw", description=ABOUT, epilog=EXAMPLES, formatter_class=raw)
    parser.add_argument("--version", action="version", version=f"voicegw {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    serve = commands.add_parser("serve", help="answer voice platforms", description="Answer voice platforms.")
    serve.add_argument("--config", metavar="FILE", help="a TOML file; without one, the embedded demo agent")
    serve.add_argument("--host", metavar="H", help="address to listen on (default: the file's, or 127.0.0.1)")
    serve.add_argument(
        "--port", metavar="N", type=int, help="port to listen on (default: the file's, or 8080)"
    )
    serve.add_argument(
        "--workers", metavar="N", type=int, help="processes that share the port (default: the file's, or 1)"
    )
    serve.set_defaults(run=_serve)

    check = commands.add_parser("check", help="check a configuration file", description="Check a file.")
    check.add_argument("file", metavar="FILE")
    check.set_defaults(run=_check)

    about = "Print the JSON schema of the configuration file, for editors."
    commands.add_parser("schema", help="print the file's JSON schema", description=about).set_defaults(
        run=_schema
    )

    keys = commands.add_parser("keys", help="make keys", description="Make keys for clients.")
    make = keys.add_subparsers(metavar="COMMAND", required=True).add_parser("new", help="make a key")
    make.add_argument("name", metavar="NAME", type=_name, help="whose key it is, such as the platform's name")
    make.set_defaults(run=_new_key)
    return parser


def _name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", text):
        raise argparse.ArgumentTypeError("a name is letters, digits, '-' and '_', and begins with no sign")
    return text


def _check(options: argparse.Namespace) -> int:
    settings = load(options.file)
    _import_from(settings)
    _try_certificate(settings)
    create_app(settings)
    agents = ", ".join(settings.agents)
    print(f"{options.file}: good. Agents: {agents} (the first is the default one).")
    return OK


def _schema(options: argparse.Namespace) -> int:
    print(json.dumps(schema(), indent=2))
    return OK


def _new_key(options: argparse.Namespace) -> int:
    secret, fingerprint = new_key()
    print(f"Give this to the client; it is shown once and kept nowhere:\n\n  {secret}\n", file=sys.stderr)
    print(f'[keys.{options.name}]\nhash = "{fingerprint}"')
    return OK


def _serve(options: argparse.Namespace) -> int:
    names = ("host", "port", "workers")
    given = {name: value for name in names if (value := getattr(options, name)) is not None}
    settings = load(options.config, server=given)
    _import_from(settings)
    _log_to_stderr()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a proper way to end, with status 0
    _try_certificate(settings)
    app = create_app(settings, tune=True, at_end=_end_for_sure)
    if settings.server.workers > 1:
        return _serve_many(settings, options.config, given)
    config = _uvicorn(settings, app)
    uvicorn.Server(config).run([_listen(settings)])
    return OK


def _serve_many(settings: Config, file: str | None, given: dict[str, Any]) -> int:
    """Several workers: each loads the configuration itself; metrics meet in a folder."""
    with tempfile.TemporaryDirectory(prefix="voicegw-") as folder:
        os.environ |= {SERVER: json.dumps(given), METRICS: folder, **({FILE: file} if file else {})}
        workers = Workers(_uvicorn(settings, "voicegw.cli:worker"), sockets=[_listen(settings)])
        workers.run()
    return FAILED if any(process.exitcode == STARTUP_FAILURE for process in workers.processes) else OK


class Workers(Multiprocess):
    """uvicorn's supervisor, with two things it leaves undone."""

    def keep_subprocess_alive(self) -> None:
        """What a worker that died had running counts no more."""
        before = list(self.processes)
        super().keep_subprocess_alive()
        for process in before:
            if process not in self.processes and process.pid is not None:
                mark_process_dead(process.pid)  # type: ignore[no-untyped-call]

    def terminate_all(self) -> None:
        """Let go of the port too, or new callers would wait in its queue."""
        super().terminate_all()
        for listener in self.sockets:
            listener.close()


def _listen(settings: Config) -> socket.socket:
    """Take the port, and tell the operator. Raises `ConfigError` when it cannot be had."""
    host, port = settings.server.host, settings.server.port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family)
    except OSError as error:
        reason = str(error.strerror).partition(" (")[0]
        raise ConfigError(f"cannot listen on {host} port {port}: {reason}") from None
    print(_greeting(settings, listener.getsockname()[1]), file=sys.stderr, flush=True)
    return listener


def worker() -> ASGIApp:
    """The application of one of several workers."""
    settings = load(os.environ.get(FILE), server=json.loads(os.environ[SERVER]))
    _import_from(settings)
    _log_to_stderr()
    return create_app(settings, shared_metrics=True, tune=True, at_end=_end_for_sure)


def _end_for_sure() -> None:
    """Nobody can make a thread end, or an agent that ignores being told; the process ends all the same."""
    timer = threading.Timer(LAST, os._exit, (0,))
    timer.daemon = True
    timer.start()


def _uvicorn(settings: Config, app: ASGIApp | str) -> uvicorn.Config:
    server = settings.server
    return uvicorn.Config(
        app,
        factory=isinstance(app, str),
        host=server.host,
        port=server.port,
        workers=server.workers,
        loop="uvloop",
        http="voicegw.surfaces.protocol:VoiceProtocol",
        ws="voicegw.surfaces.socket_protocol:SocketProtocol",
        ws_max_size=max(settings.limits.body_bytes, FRAME),
        ws_per_message_deflate=False,  # small frames would only come later
        lifespan="on",
        access_log=False,  # paths may hold secrets; turns are logged by the journal
        log_config=None,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=int(server.drain) + 5,
        ssl_certfile=server.tls_cert,
        ssl_keyfile=server.tls_key,
    )


def _try_certificate(settings: Config) -> None:
    server = settings.server
    if server.tls_cert is None:
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(server.tls_cert, server.tls_key)
    except OSError as error:
        raise ConfigError(f"{settings.source}: server.tls_cert: cannot be used: {error}") from None


def _log_to_stderr() -> None:
    """Bare lines; what a record says of thread, process and task costs more than the line."""
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)


def _import_from(settings: Config) -> None:
    """Agents of kind "python" are found beside the configuration file, and in the working directory."""
    for folder in (os.getcwd(), str(settings.folder.resolve())):
        if folder not in sys.path:
            sys.path.insert(0, folder)


def _greeting(settings: Config, port: int) -> str:
    """What the operator should know at start, and one line to try."""
    server = settings.server
    scheme = "http" if server.tls_cert is None else "https"
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(server.host, server.host)
    host = f"[{host}]" if ":" in host else host
    url = f"{scheme}://{host}:{port}/v1/chat/completions"
    key = " -H 'authorization: Bearer YOUR_KEY'" if settings.keys else ""
    body = '{"stream": true, "messages": [{"role": "user", "content": "Hello! When are you open?"}]}'
    lines = [
        f"voicegw {__version__} answers at {url}",
        f"agents: {', '.join(settings.agents)}" + ("" if settings.keys else "; no keys: this machine only"),
    ]
    if server.workers > 1:
        lines.append(
            f"{server.workers} workers: limits are divided among them, metrics are summed, and each has its "
            "own connections to the agents"
        )
    lines.append(f"try it:\n\n  curl -N {url}{key} -H 'content-type: application/json' -d '{body}'\n")
    return "\n".join(lines)
