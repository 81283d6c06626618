"""The command line: it parses arguments and runs one command.

The work of a command is in `voicegw.server`, `voicegw.config`, `voicegw.commands` and `voicegw.simulate`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import sys
from collections.abc import Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import Any

from voicegw import __version__
from voicegw.app.create import create_app
from voicegw.commands import new_agent as new_agent_command
from voicegw.commands.doctor.examine import examine
from voicegw.commands.doctor.report import AgentReport, format_table
from voicegw.config.load import build_schema, load
from voicegw.errors import ConfigError
from voicegw.security.keys import generate_key
from voicegw.server import check_certificate, serve
from voicegw.serving.process import add_import_paths
from voicegw.settings.fields import VISIBLE_ASCII
from voicegw.simulate.platform import SimulationSetup
from voicegw.simulate.platforms.registry import PLATFORMS
from voicegw.simulate.run import SimulationResult, simulate
from voicegw.simulate.script import DEFAULT_SCRIPT, load_script

OK, FAILED, MISUSED, INTERRUPTED = 0, 1, 2, 130
ABOUT = "Put any agent on the phone, with nobody waiting in silence."
EXAMPLES = """examples:
  voicegw serve                                 the demo agent on 127.0.0.1:8080, no set-up
  voicegw serve --config voicegw.toml           your agents
  voicegw new-agent my_agent.py                 write a Python agent to start from
  voicegw check voicegw.toml                    report the problems of a file, start nothing
  voicegw doctor voicegw.toml                   try every agent: answer, latency, stop
  voicegw keys new elevenlabs                   make an API key for one platform
  voicegw simulate vapi http://127.0.0.1:8080   play the platform: call, interrupt, check

exit status: 0 done, 1 failed, or the file has problems, 2 wrong use"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    options = _parser().parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # the terminal's encoding may lack a character
    try:
        return int(options.run(options))
    except ConfigError as error:
        print(error, file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return OK if options.run is _serve else INTERRUPTED
    except BrokenPipeError:  # the reader of a pipe has closed it
        _discard_output()
        return OK


def _parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("voicegw", description=ABOUT, epilog=EXAMPLES, formatter_class=raw)
    parser.add_argument("--version", action="version", version=f"voicegw {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    serving = commands.add_parser(
        "serve", help="answer voice platforms", description="Answer voice platforms."
    )
    serving.add_argument("--config", metavar="FILE", help="a TOML file; without one, the embedded demo agent")
    serving.add_argument(
        "--host", metavar="H", help="address to listen on (default: the file's, or 127.0.0.1)"
    )
    serving.add_argument(
        "--port", metavar="N", type=int, help="port to listen on (default: the file's, or 8080)"
    )
    serving.add_argument(
        "--workers", metavar="N", type=int, help="processes that share the port (default: the file's, or 1)"
    )
    serving.set_defaults(run=_serve)

    check = commands.add_parser("check", help="check a configuration file", description="Check a file.")
    check.add_argument("file", metavar="FILE")
    check.set_defaults(run=_check)

    about = "Print the JSON schema of the configuration file, for editors."
    commands.add_parser("schema", help="print the file's JSON schema", description=about).set_defaults(
        run=_schema
    )

    keys = commands.add_parser("keys", help="make API keys", description="Make API keys for clients.")
    make = keys.add_subparsers(metavar="COMMAND", required=True).add_parser("new", help="make an API key")
    make.add_argument("name", metavar="NAME", type=_name, help="name of the key, such as the platform's")
    make.set_defaults(run=_new_key)
    _add_new_agent(commands)
    _add_doctor(commands)
    _add_simulate(commands)
    return parser


def _add_new_agent(commands: Any) -> None:
    about = "Write a commented Python agent to start from."
    command = commands.add_parser("new-agent", help="write a Python agent to start from", description=about)
    command.add_argument("file", metavar="FILE", type=Path, help="a new file, such as my_agent.py")
    command.set_defaults(run=_new_agent)


def _new_agent(options: argparse.Namespace) -> int:
    print(new_agent_command.write_agent(options.file))
    return OK


def _add_doctor(commands: Any) -> None:
    about = "Try every agent as a call does: connect, ask, interrupt; measure each step and advise."
    ends = "exit status: 0 all agents work, 1 one does not, or the file has problems, 2 wrong use, 130 Ctrl-C"
    command = commands.add_parser("doctor", help="try the agents", description=about, epilog=ends)
    command.add_argument("file", metavar="FILE", nargs="?", help="a TOML file; without one, the demo agent")
    command.add_argument("--agent", metavar="NAME", action="append", help="this agent only; may be repeated")
    command.add_argument(
        "--within", metavar="S", type=_seconds, default=60.0, help="seconds for each step (60)"
    )
    command.add_argument("--json", action="store_true", help="print everything as JSON (docs/agents.md)")
    command.set_defaults(run=_doctor)


def _doctor(options: argparse.Namespace) -> int:
    settings = load(options.file)
    add_import_paths(settings)
    names = options.agent or list(settings.agents)
    if unknown := [name for name in names if name not in settings.agents]:
        raise ConfigError(f"there is no agent {unknown[0]!r}; known are {', '.join(settings.agents)}")
    reports: list[AgentReport] = []
    try:
        asyncio.run(examine(settings, names, _progress, reports.append, step_timeout=options.within))
    finally:  # after Ctrl-C too: the reports so far
        if reports:
            _print(
                json.dumps([report.as_json() for report in reports], indent=2)
                if options.json
                else format_table(reports)
            )
    return OK if all(report.is_well for report in reports) else FAILED


def _print(text: str) -> None:
    """Print the text. A closed pipe does not change the exit status."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        _discard_output()


def _discard_output() -> None:
    """Drop further output: the pipe is closed, and flushing it at exit would fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _progress(text: str) -> None:
    """Print a line of progress if the error output is a terminal."""
    if sys.stderr.isatty():
        print(text, file=sys.stderr, flush=True)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= 3600:
        raise argparse.ArgumentTypeError("must be a number of seconds, at most 3600")
    return seconds


def _add_simulate(commands: Any) -> None:
    about = "Play a voice platform against a gateway, show the latencies, and check every frame."
    command = commands.add_parser("simulate", help="play a voice platform", description=about)
    command.add_argument("platform", metavar="PLATFORM", choices=PLATFORMS, help=", ".join(PLATFORMS))
    command.add_argument("url", metavar="URL", help="the address that you enter at the platform")
    command.add_argument(
        "--script", metavar="FILE", help="the caller's side of the call, a TOML file (default: a short call)"
    )
    command.add_argument(
        "--key-env", metavar="VARIABLE", help="environment variable with the platform's secret or key"
    )
    command.add_argument(
        "--model", metavar="NAME", default="", help="agent to ask for, on platforms that name one"
    )
    command.add_argument(
        "--public-url",
        metavar="URL",
        default="",
        help="the URL that Twilio calls and signs, if it differs from URL",
    )
    command.add_argument("--json", action="store_true", help="print everything as one JSON object")
    command.add_argument("--anywhere", action="store_true", help="allow a gateway on another machine")
    command.set_defaults(run=_simulate)


def _simulate(options: argparse.Namespace) -> int:
    try:
        result = _run_simulation(options)
    except ConfigError as error:  # status 1 means that the gateway failed
        print(error, file=sys.stderr)
        return MISUSED
    _print(json.dumps(result.as_json(), indent=2) if options.json else result.as_text())
    return OK if result.has_passed else FAILED


def _run_simulation(options: argparse.Namespace) -> SimulationResult:
    secret = os.environ.get(options.key_env or "")
    if options.key_env and not secret:
        raise ConfigError(f"the environment variable {options.key_env} is not set")
    if secret and not VISIBLE_ASCII.fullmatch(secret):
        raise ConfigError(
            f"the environment variable {options.key_env} holds a character that no header can carry"
        )
    script = DEFAULT_SCRIPT if options.script is None else load_script(Path(options.script))
    return simulate(
        options.platform,
        options.url,
        script,
        SimulationSetup(secret or "", options.model, options.public_url),
        allow_remote=options.anywhere,
    )


def _name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", text):
        raise argparse.ArgumentTypeError(
            "must be letters, digits, '-' and '_', and begin with a letter or digit"
        )
    return text


def _check(options: argparse.Namespace) -> int:
    settings = load(options.file)
    add_import_paths(settings)
    check_certificate(settings)
    create_app(settings)
    agents = ", ".join(settings.agents)
    print(f"{options.file}: valid. Agents: {agents} (the first is the default).")
    return OK


def _schema(options: argparse.Namespace) -> int:
    print(json.dumps(build_schema(), indent=2))
    return OK


def _new_key(options: argparse.Namespace) -> int:
    secret, fingerprint = generate_key()
    print(f"Give this key to the client; it is shown once and not stored:\n\n  {secret}\n", file=sys.stderr)
    print(f'[keys.{options.name}]\nhash = "{fingerprint}"')
    return OK


def _serve(options: argparse.Namespace) -> int:
    names = ("host", "port", "workers")
    overrides = {name: value for name in names if (value := getattr(options, name)) is not None}
    return OK if serve(options.config, overrides) else FAILED
