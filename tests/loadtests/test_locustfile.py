"""Locust's callers, in separate processes, against a running gateway and its upstream."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from loadtests.callers.sockets import NOT_THIS_MACHINE
from loadtests.report.results import Results, Run
from loadtests.servers.launch import free_port, run_server, split_cores
from loadtests.servers.upstream import Upstream, UpstreamStats

ROOT = Path(__file__).parents[2]
PLATFORMS = ("chat", "relay", "retell", "speech-engine")
FIRST_WORDS = frozenset({"first chunk", "ack-TTFT", "longest gap"})
ANSWER_BEGUN = FIRST_WORDS | {"answer-TTFT", "inter-delta gap"}
WHOLE, STOPPED = ANSWER_BEGUN | {"turn"}, ANSWER_BEGUN | {"stop", "turn"}
QUICK = "first=0.3,every=0.01,tokens=5"
MODELS = {
    "revision": "first=1,every=0.01,tokens=5",
    "bargein": "first=0.3,every=0.02,tokens=300",
    "duplicate": "first=1,every=0.01,tokens=5",
    "dead": "dead",
    "hangup": "first=9",
    "long": "tool:first=1.8,every=0.01,tokens=5",
}
EXPECTED = {
    "revision": dict.fromkeys(PLATFORMS, STOPPED) | {"relay": WHOLE},
    "bargein": dict.fromkeys(PLATFORMS, STOPPED),
    "duplicate": dict.fromkeys(PLATFORMS, WHOLE),
    "dead": dict.fromkeys(PLATFORMS, FIRST_WORDS | {"turn"}),
    "hangup": dict.fromkeys(PLATFORMS, FIRST_WORDS),
    "long": dict.fromkeys(PLATFORMS[1:], WHOLE),
}
"""The metrics of each scenario, platform by platform."""

pytestmark = [
    pytest.mark.wire,
    pytest.mark.skipif(importlib.util.find_spec("locust") is None, reason="locust is an extra"),
]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a gateway with `loadtests/gateway.toml`, but with earlier lines of progress."""
    folder, port, agent = tmp_path_factory.mktemp("load"), free_port(), free_port()
    text = (ROOT / "loadtests" / "gateway.toml").read_text()
    changes = {"port = 8080": f"port = {port}", "9001/v1": f"{agent}/v1", "every = 2": "every = 0.5"}
    for was, now in changes.items():
        assert was in text
        text = text.replace(was, now)
    (folder / "gateway.toml").write_text(text)
    upstream = [sys.executable, "-m", "loadtests.servers.upstream", "--port", str(agent)]
    serve = [sys.executable, "-m", "voicegw", "serve", "--config", str(folder / "gateway.toml")]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with ExitStack() as stack:
        stack.enter_context(run_server(upstream, agent, split_cores()[0], folder / "upstream.log", env))
        stack.enter_context(run_server(serve, port, split_cores()[0], folder / "gateway.log", env))
        yield f"http://127.0.0.1:{port}"


def enable_sigint() -> None:
    """Reset SIGINT: a background process may have inherited that it is ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def locust(*options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "locust", "-f", "loadtests/locustfile.py", "--loglevel", "ERROR"]
    return subprocess.Popen(
        [*command, *options],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=enable_sigint,
    )


def entries_by_platform(stdout: str) -> dict[str, dict[str, Any]]:
    """Return locust's entries, by platform and metric."""
    found: dict[str, dict[str, Any]] = {}
    for entry in json.loads(stdout):
        found.setdefault(entry["method"], {})[entry["name"]] = entry
    return found


def test_every_platform_has_the_metrics_of_every_scenario(gateway: str, tmp_path: Path) -> None:
    """A dead agent has first words on every platform, and an answer on none."""
    running = {}
    for name, platforms in EXPECTED.items():
        users = [f"{''.join(word.title() for word in each.split('-'))}Caller" for each in platforms]
        options = f"--headless --json -u {len(users)} -r 4 -t 3s --tags {name} --turns 1 --host {gateway}"
        model = f"--model-{name}", MODELS[name]
        running[name] = locust(*options.split(), *model, "--results", str(tmp_path / name), *users)
    outputs = {name: process.communicate(timeout=60) for name, process in running.items()}
    for name, (stdout, stderr) in outputs.items():
        assert running[name].returncode == 0, (name, stdout, stderr)
        entries = entries_by_platform(stdout)
        assert {platform: set(found) for platform, found in entries.items()} == EXPECTED[name], name
        runs = {run.scenario: run for run in Results.read(tmp_path / name).runs}
        assert set(runs) == {f"{platform} {name}" for platform in EXPECTED[name]}
        for platform, found in entries.items():
            check_run(runs[f"{platform} {name}"], {metric: found[metric]["num_requests"] for metric in found})


def check_run(run: Run, counts: dict[str, int]) -> None:
    """Check that the file has as many turns as locust counted, and no failures."""
    assert (run.loop, run.failed) == ("closed", {})
    assert len(run.times["at"]) == len(run.values("first_chunk")) == counts["first chunk"] > 0
    assert len(run.values("answer")) == len(run.values("waited")) == counts.get("answer-TTFT", 0)
    assert len(run.values("stop")) == counts.get("stop", 0)


def test_two_workers_report_every_turn_to_the_master(gateway: str, tmp_path: Path) -> None:
    port = str(free_port())
    workers = [locust("--worker", "--master-port", port) for _ in range(2)]
    options = f"--headless --json --expect-workers 2 -u 2 -r 2 -t 2s --tags short --host {gateway}"
    master = locust(
        *("--master", "--master-bind-host", "127.0.0.1", "--master-bind-port", port, *options.split()),
        *("--model-short", QUICK, "--turns", "1", "--pause", "0.1", "--results", str(tmp_path / "all")),
        "ChatCaller",
    )
    stdout, _ = master.communicate(timeout=60)
    for worker in workers:
        worker.communicate(timeout=20)
    assert [process.returncode for process in (master, *workers)] == [0, 0, 0]
    results = Results.read(tmp_path / "all")
    assert len(results.environment["generators"]) == 2
    (run,) = results.runs
    assert len(run.times["at"]) == entries_by_platform(stdout)["chat"]["turn"]["num_requests"] >= 2
    assert (run.failed, run.offered) == ({}, 2)


def test_a_rejecting_agent_is_a_failure_with_a_reason(gateway: str, tmp_path: Path) -> None:
    """The apology that the gateway speaks instead is not the answer."""
    process = locust(
        *f"--headless --json -u 1 -r 1 -t 2s --tags short --model-short gpt --host {gateway}".split(),
        *("--turns", "1", "--results", str(tmp_path / "all"), "RelayCaller"),
    )
    stdout, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    entries = entries_by_platform(stdout)["relay"]
    assert set(entries) == {"turn"}
    (run,) = Results.read(tmp_path / "all").runs
    assert run.failed == {"the agent's answer was not in the turn": entries["turn"]["num_failures"]}
    assert run.times["answer"] == []


async def test_ctrl_c_prints_the_measurements() -> None:
    requests = asyncio.Queue[bytes]()

    class WatchedUpstream(Upstream):
        def _start_stream(self, body: bytes) -> None:
            requests.put_nowait(body)
            super()._start_stream(body)

    server = await asyncio.get_running_loop().create_server(
        lambda: WatchedUpstream(UpstreamStats()), "127.0.0.1", 0
    )
    async with server, asyncio.timeout(60):
        host = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        options = f"--headless --only-summary --loglevel INFO -u 1 --tags short --host {host} ChatCaller"
        process = locust(*options.split(), "--model-short", QUICK, "--turns", "9", "--think", "0.1")
        for _ in range(2):  # the second request comes after the first answer was counted
            await requests.get()
        process.send_signal(signal.SIGINT)
        _, tables = await asyncio.to_thread(process.communicate, timeout=50)
    assert process.returncode == 0, tables
    assert "limit reached" not in tables
    counts, _, percentiles = tables.partition("Response time percentiles")
    assert "answer-TTFT" in counts
    assert "answer-TTFT" in percentiles


def test_a_target_on_another_machine_is_refused_before_any_call() -> None:
    process = locust("--headless", "-t", "2s", "--host", "http://192.0.2.1")
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 1
    assert stderr == f"http://192.0.2.1: {NOT_THIS_MACHINE}\n"


def test_the_callers_are_compared_with_the_bare_generator() -> None:
    """Each has a line: successful streams, CPU for each, and the lateness of the callers."""
    options = ["--rounds", "1", "--callers", "2", "--seconds", "2"]
    done = subprocess.run(
        [sys.executable, "-m", "loadtests.micro.callers_overhead", *options],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    lines = [line.split() for line in done.stdout.splitlines()[1:]]
    assert [name for name, *_ in lines] == ["bare", "locust"]
    for _, streams, cpu, p50, p99 in lines:
        assert float(streams) >= 2
        assert float(cpu) > 0
        assert float(p99) >= float(p50) > 0
