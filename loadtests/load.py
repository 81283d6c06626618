"""The load test of a gateway, about two minutes long, on this machine.

    python -m loadtests.load [--quick] [--seconds 120]
    python -m loadtests.load --target http://127.0.0.1:8080/v1 --key KEY --upstream http://127.0.0.1:9001

It starts the gateway and an upstream, or uses given ones. It measures the time that the gateway adds to the
same turns, and the turns per second that it holds. It checks that agents stop when callers do, that callers
hear words when agents break, and that everything is released at the end. See docs/load-testing.md. Ctrl-C
keeps what was measured.
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

from loadtests.generate.cli_types import SEED, count, number, redact_secrets, writable
from loadtests.generate.open_loop import STOPPED_EARLY, raise_file_limit
from loadtests.generate.phases import LoadTest, PhaseLengths
from loadtests.generate.signals import interrupt_on_termination, print_lines
from loadtests.generate.target import Target
from loadtests.report import page
from loadtests.report.results import ROOT, Results, describe_environment
from loadtests.report.summary import format_summary
from loadtests.servers.launch import (
    free_port,
    pin_to_cores,
    process_usage,
    run_server,
    run_upstream,
    split_cores,
)
from loadtests.servers.leak_checks import Processes
from loadtests.servers.peers import NotReady

OUTPUT_FOLDER = ROOT / "loadtests" / "out"
"""The folder of the results that have no other path."""
QUICK_SECONDS = 6.0
"""Seconds of new turns with --quick: enough to see that everything works, too few for figures."""
# Each turn is a new call; 10000 remembered calls, the default, would hide a leak.
CONFIG = """\
[server]
port = {port}
[limits]
concurrent_turns = 5000
[calls]
max_calls = 1000
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
    """Run an upstream, and the gateway in front of it on a separate core.

    Yields both targets and the gateway's pid. Raises NotReady when a server does not start.
    """
    with run_upstream(folder) as agent:
        port, key = free_port(), secrets.token_urlsafe(32)
        config = folder / "voicegw.toml"
        config.write_text(CONFIG.format(port=port, upstream=agent.port))
        argv = [sys.executable, "-m", "voicegw", "serve", "--config", str(config)]
        env = {**os.environ, "VOICEGW_LOAD_KEY": key}
        with (
            run_server(argv, port, split_cores()[0], folder / "voicegw.log", env) as pid,
            pin_to_cores(split_cores()[1]),
        ):
            yield Target("direct", agent.port), Target("voicegw", port, key=key), pid


@contextmanager
def run_idle_uvicorn(folder: Path) -> Iterator[int]:
    """Run a uvicorn on the gateway's core that gets no request; yield its pid. Raises NotReady."""
    port = free_port()
    app = ["-m", "loadtests.servers.naive", "--port", str(port), "--upstream", "http://127.0.0.1:1/v1"]
    with run_server(
        [sys.executable, *app], port, split_cores()[0], folder / "idle.log", dict(os.environ)
    ) as pid:
        yield pid


def parse_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "loadtests.load", description="Put load on a gateway, and check that it cleans up."
    )
    parser.add_argument(
        "--seconds", type=number(1, 3600), default=120.0, help="length of the test, about (default: 120)"
    )
    parser.add_argument(
        "--quick", action="store_true", help="run for some seconds, only to see that everything works"
    )
    parser.add_argument(
        "--seed", type=SEED, default=1, help="seed of the arrivals and of random waits (default: 1)"
    )
    parser.add_argument(
        "--target", metavar="URL", help="base URL of a server to measure, instead of a new gateway"
    )
    parser.add_argument("--key", default="none", help="API key of the target")
    parser.add_argument(
        "--pid", type=count(1, 2**22), help="process of the target, to measure its memory and CPU"
    )
    parser.add_argument(
        "--upstream",
        metavar="URL",
        help="URL of the loadtests.servers.upstream that is the agent of the target",
    )
    parser.add_argument("--anywhere", action="store_true", help="allow a target on another machine")
    parser.add_argument(
        "--settle", type=number(0, 3600), metavar="S", help="seconds to wait for rest at the end"
    )
    parser.add_argument(
        "--out", type=writable, help="write the results to this file (default: a new file in loadtests/out)"
    )
    args = parser.parse_args(arguments)
    if bool(args.target) != bool(args.upstream):
        parser.error("--target and --upstream need each other: give both")
    try:
        args.targets = args.target and tuple(
            Target.from_url(url, key, name, anywhere=args.anywhere)
            for url, key, name in ((args.upstream, "none", "direct"), (args.target, args.key, "target"))
        )
        if args.pid and not process_usage(args.pid).rss:
            raise ValueError(f"--pid: there is no process {args.pid}")
        args.out = args.out or writable(
            str(OUTPUT_FOLDER / time.strftime(f"load-%Y%m%d-%H%M%S-{os.getpid()}.json"))
        )
    except (ValueError, argparse.ArgumentTypeError) as error:
        parser.error(str(error))
    return args


def measure(args: argparse.Namespace, results: Results) -> None:
    """Run the load test into the results. Raises NotReady, OSError, or KeyboardInterrupt at Ctrl-C."""
    lengths = PhaseLengths.for_duration(QUICK_SECONDS if args.quick else args.seconds)
    if args.settle is not None:
        lengths = replace(lengths, settle_seconds=args.settle)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="voicegw-load-")))
        if args.targets:
            (direct, target), pid = args.targets, args.pid
        else:
            direct, target, pid = stack.enter_context(run_own_servers(folder))
        processes = Processes(pid, stack.enter_context(run_idle_uvicorn(folder)) if pid else None)
        uvloop.run(LoadTest(direct, target, processes, lengths, args.seed, results).run())


def is_passed(results: Results) -> bool:
    """Whether every check was passed and every phase has a run that is not void. The knee needs none."""
    valid = {run.scenario for run in results.runs if not run.void}
    wanted = {run.scenario for run in results.runs} - {"knee"}
    return bool(valid) and wanted <= valid and all(check.ok for run in results.runs for check in run.checks)


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0 when all checks were passed and no phase is void, 1 if not, 130 after Ctrl-C."""
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
        results.notes.append(f"the measurement broke off: {error or type(error).__name__}")
        print(results.notes[-1], file=sys.stderr)
        if not results.runs:
            return code
    paths = write_results(results, args.out)
    print_lines(format_summary(results), *paths)
    return code or int(not (paths and is_passed(results)))


def write_results(results: Results, path: Path) -> list[str]:
    """Write results and report, and return lines with their paths; none, after a message, if that failed."""
    report = path.with_suffix(".html")
    try:
        results.write(path)
        page.write_page(results, report)
    except OSError as error:
        print(f"{error.filename or path} cannot be written: {error.strerror}", file=sys.stderr)
        return []
    return [f"\nresults {path}", f"report  {report}"]


if __name__ == "__main__":
    sys.exit(main())
