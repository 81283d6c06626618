"""Two minutes of load on the gateway, on this machine, and what came of it.

    python -m loadtests.load [--quick] [--seconds 120]
    python -m loadtests.load --target http://127.0.0.1:8080/v1 --key KEY --upstream http://127.0.0.1:9001

Starts the gateway and an upstream itself, or takes those that it is given. What it adds to the same turns,
how many turns per second it holds, whether agents stop when callers do, what is heard of agents that break,
and whether everything is given back afterwards: see docs/load-testing.md. Ctrl-C keeps what was measured.
"""

from __future__ import annotations

import argparse
import os
import secrets
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import uvloop

from loadtests.generate.cli_types import SEED, count, hidden, number, writable
from loadtests.generate.open_loop import STOPPED, many_files
from loadtests.generate.phases import Pace, Session
from loadtests.generate.signals import heed, say
from loadtests.generate.target import Door
from loadtests.report import page
from loadtests.report.results import ROOT, Results, environment
from loadtests.report.summary import summary
from loadtests.servers.launch import cores, free_port, pinned, started, upstream, used
from loadtests.servers.peers import NotReady

OUT = ROOT / "loadtests" / "out"
QUICK = 6.0
"""Seconds of new turns, more or less, that show that everything works; as figures they are worth little."""
# Each turn is a call of its own, and 10000 remembered ones would hide a leak.
CONFIG = """\
[server]
port = {port}
[limits]
concurrent_turns = 5000
[calls]
most = 1000
[keys.load]
env = "VOICEGW_LOAD_KEY"
[agents.upstream]
kind = "openai"
url = "http://127.0.0.1:{upstream}/v1"
first_token = 1
idle = 1
[agents.upstream.ack]
after = 0
"""


@contextmanager
def embedded(folder: Path) -> Iterator[tuple[Door, Door, int]]:
    """An upstream, the gateway before it on a core of its own, and the gateway's process."""
    with upstream(folder) as agent:
        port, key = free_port(), secrets.token_urlsafe(32)
        config = folder / "voicegw.toml"
        config.write_text(CONFIG.format(port=port, upstream=agent.port))
        argv = [sys.executable, "-m", "voicegw", "serve", "--config", str(config)]
        env = {**os.environ, "VOICEGW_LOAD_KEY": key}
        with started(argv, port, cores()[0], folder / "voicegw.log", env) as pid, pinned(cores()[1]):
            yield Door("direct", agent.port), Door("voicegw", port, key=key), pid


def options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("loadtests.load", description="Put load on the gateway.")
    parser.add_argument(
        "--seconds", type=number(1, 3600), default=120.0, help="about how long (default: 120)"
    )
    parser.add_argument("--quick", action="store_true", help="some seconds: does everything work?")
    parser.add_argument("--seed", type=SEED, default=1, help="of arrivals and of what is drawn (default: 1)")
    parser.add_argument("--target", metavar="URL", help="measure this server instead of one of our own")
    parser.add_argument("--key", default="none", help="the target's key")
    parser.add_argument("--pid", type=count(1, 2**22), help="the target's process, to see what it uses")
    parser.add_argument("--upstream", metavar="URL", help="the loadtests.upstream that is the target's agent")
    parser.add_argument("--anywhere", action="store_true", help="the target may be another machine")
    parser.add_argument("--settle", type=number(0, 3600), metavar="S", help="wait so long for rest, at most")
    parser.add_argument(
        "--out", type=writable, help="write the results to this file (default: in loadtests/out)"
    )
    args = parser.parse_args(arguments)
    if bool(args.target) != bool(args.upstream):
        parser.error("--target and --upstream go together")
    try:
        args.doors = args.target and tuple(
            Door.at(url, key, name, anywhere=args.anywhere)
            for url, key, name in ((args.upstream, "none", "direct"), (args.target, args.key, "target"))
        )
        if args.pid and not used(args.pid).rss:
            raise ValueError(f"there is no process {args.pid}")
        args.out = args.out or writable(str(OUT / time.strftime(f"load-%Y%m%d-%H%M%S-{os.getpid()}.json")))
    except (ValueError, argparse.ArgumentTypeError) as error:
        parser.error(str(error))
    return args


def measure(args: argparse.Namespace, results: Results) -> None:
    """All of it, into the results. Raises NotReady, or KeyboardInterrupt at Ctrl-C."""
    pace = Pace.within(QUICK if args.quick else args.seconds)
    if args.settle is not None:
        pace = replace(pace, wait=args.settle)
    with ExitStack() as stack:
        if args.doors:
            (direct, door), pid = args.doors, args.pid
        else:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="voicegw-load-"))
            direct, door, pid = stack.enter_context(embedded(Path(folder)))
        uvloop.run(Session(direct, door, pid, pace, args.seed, results).run())


def proved(results: Results) -> bool:
    """Whether every check was passed, and every phase has a run that is not void. A knee needs none."""
    sound = {run.scenario for run in results.runs if not run.void}
    wanted = {run.scenario for run in results.runs} - {"knee"}
    return bool(sound) and wanted <= sound and all(check.ok for run in results.runs for check in run.checks)


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when everything is as it should be, 1 when something is not, 130 at Ctrl-C."""
    args = options(arguments)
    heed()
    many_files()
    results = Results(environment(args.seed, hidden(sys.argv, args.key)))
    code = 0
    try:
        measure(args, results)
    except KeyboardInterrupt:
        code = 130
        results.notes.append(STOPPED)
    except (NotReady, OSError) as error:
        code = 1
        results.notes.append(f"not measured to the end: {error or type(error).__name__}")
        print(results.notes[-1], file=sys.stderr)
        if not results.runs:
            return code
    places = keep(results, args.out)
    say(summary(results), *places)
    return code or int(not (places and proved(results)))


def keep(results: Results, path: Path) -> list[str]:
    """Write results and report, and tell where they are; nothing if that failed."""
    place = path.with_suffix(".html")
    try:
        results.write(path)
        page.write(results, place)
    except OSError as error:
        print(f"{error.filename or path} could not be written: {error.strerror}", file=sys.stderr)
        return []
    return [f"\nresults {path}", f"report  {place}"]


if __name__ == "__main__":
    sys.exit(main())
