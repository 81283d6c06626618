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

from loadtests.generate.cli_types import SEED, count, redact_secrets, number, writable
from loadtests.generate.open_loop import STOPPED_EARLY, raise_file_limit
from loadtests.generate.phases import PhaseLengths, LoadTest
from loadtests.generate.signals import interrupt_on_termination, print_lines
from loadtests.generate.target import Target
from loadtests.report import page
from loadtests.report.results import ROOT, Results, describe_environment
from loadtests.report.summary import format_summary
from loadtests.servers.launch import split_cores, free_port, pin_to_cores, run_server, run_upstream, process_usage
from loadtests.servers.peers import NotReady

OUTPUT_FOLDER = ROOT / "loadtests" / "out"
QUICK_SECONDS = 6.0
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
def run_own_servers(folder: Path) -> Iterator[tuple[Target, Target, int]]:
    """An upstream, the gateway before it on a core of its own, and the gateway's process."""
    with run_upstream(folder) as agent:
        port, key = free_port(), secrets.token_urlsafe(32)
        config = folder / "voicegw.toml"
        config.write_text(CONFIG.format(port=port, upstream=agent.port))
        argv = [sys.executable, "-m", "voicegw", "serve", "--config", str(config)]
        env = {**os.environ, "VOICEGW_LOAD_KEY": key}
        with run_server(argv, port, split_cores()[0], folder / "voicegw.log", env) as pid, pin_to_cores(split_cores()[1]):
            yield Target("direct", agent.port), Target("voicegw", port, key=key), pid


def parse_options(arguments: Sequence[str] | None) -> argparse.Namespace:
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
            Target.from_url(url, key, name, anywhere=args.anywhere)
            for url, key, name in ((args.upstream, "none", "direct"), (args.target, args.key, "target"))
        )
        if args.pid and not process_usage(args.pid).rss:
            raise ValueError(f"there is no process {args.pid}")
        args.out = args.out or writable(str(OUTPUT_FOLDER / time.strftime(f"load-%Y%m%d-%H%M%S-{os.getpid()}.json")))
    except (ValueError, argparse.ArgumentTypeError) as error:
        parser.error(str(error))
    return args


def measure(args: argparse.Namespace, results: Results) -> None:
    """All of it, into the results. Raises NotReady, or KeyboardInterrupt at Ctrl-C."""
    pace = PhaseLengths.for_duration(QUICK_SECONDS if args.quick else args.seconds)
    if args.settle is not None:
        pace = replace(pace, wait=args.settle)
    with ExitStack() as stack:
        if args.doors:
            (direct, door), pid = args.doors, args.pid
        else:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="voicegw-load-"))
            direct, door, pid = stack.enter_context(run_own_servers(Path(folder)))
        uvloop.run(LoadTest(direct, door, pid, pace, args.seed, results).run())


def is_passed(results: Results) -> bool:
    """Whether every check was passed, and every phase has a run that is not void. A knee needs none."""
    sound = {run.scenario for run in results.runs if not run.void}
    wanted = {run.scenario for run in results.runs} - {"knee"}
    return bool(sound) and wanted <= sound and all(check.ok for run in results.runs for check in run.checks)


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when everything is as it should be, 1 when something is not, 130 at Ctrl-C."""
    args = parse_options(arguments)
    interrupt_on_termination()
    raise_file_limit()
    results = Results(describe_environment(args.seed, redact_secrets(sys.argv, args.key)))
    code = 0
    try:
        measure(args, results)
    except KeyboardInterrupt:
        code = 130
        results.notes.append(STOPPED_EARLY)
    except (NotReady, OSError) as error:
        code = 1
        results.notes.append(f"not measured to the end: {error or type(error).__name__}")
        print(results.notes[-1], file=sys.stderr)
        if not results.runs:
            return code
    places = write_results(results, args.out)
    print_lines(format_summary(results), *places)
    return code or int(not (places and is_passed(results)))


def write_results(results: Results, path: Path) -> list[str]:
    """Write results and report, and tell where they are; nothing if that failed."""
    place = path.with_suffix(".html")
    try:
        results.write(path)
        page.write_page(results, place)
    except OSError as error:
        print(f"{error.filename or path} could not be written: {error.strerror}", file=sys.stderr)
        return []
    return [f"\nresults {path}", f"report  {place}"]


if __name__ == "__main__":
    sys.exit(main())
