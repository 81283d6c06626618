"""Other gateways are installed and started as documented, and missing ones are named."""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from loadtests.bench import add_ratios, start_targets
from loadtests.generate.response_plan import ResponsePlan
from loadtests.generate.scenarios import SCENARIOS, count_open
from loadtests.generate.streams import Load, Stream, record_streams
from loadtests.generate.target import Target
from loadtests.report.results import Run
from loadtests.servers import peers
from loadtests.servers.launch import (
    DEFAULT_TARGETS,
    TARGET_NAMES,
    ResourceUsage,
    Server,
    count_open_files,
    prepare_launch,
    process_tree,
    process_usage,
)
from loadtests.servers.peers import NotReady


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with both peers, as their installers leave them."""
    monkeypatch.setattr(peers, "PEERS_FOLDER", tmp_path)
    (tmp_path / f"litellm/lib/python3.11/site-packages/litellm-{peers.LITELLM_VERSION}.dist-info").mkdir(
        parents=True
    )
    package = tmp_path / "portkey/node_modules/@portkey-ai/gateway/package.json"
    package.parent.mkdir(parents=True)
    package.write_text(json.dumps({"version": peers.PORTKEY_VERSION}))
    return tmp_path


def test_litellm_has_one_worker_a_key_and_the_upstream_for_every_model(
    installed: Path, tmp_path: Path
) -> None:
    spec = prepare_launch("litellm", 4000, 9001, tmp_path)
    assert spec.argv == [
        str(installed / "litellm/bin/litellm"), "--config", str(tmp_path / "litellm.yaml"),
        "--host", "127.0.0.1", "--port", "4000", "--num_workers", "1",
    ]  # fmt: skip
    assert spec.key == spec.env["LITELLM_MASTER_KEY"]
    assert spec.key.startswith("sk-")
    config = (tmp_path / "litellm.yaml").read_text()
    assert "api_base: http://127.0.0.1:9001/v1\n" in config
    assert spec.key not in config
    assert (spec.headers, spec.version) == ({}, peers.LITELLM_VERSION)


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_headers_name_the_upstream_of_portkey(installed: Path, tmp_path: Path) -> None:
    spec = prepare_launch("portkey", 8787, 9001, tmp_path)
    program = installed / "portkey/node_modules/@portkey-ai/gateway/build/start-server.js"
    assert spec.argv[1:] == [str(program), "--port=8787", "--headless"]
    target = Target("", 8787, key=spec.key, headers=spec.headers)
    head, _, body = target.encode_request("quick").partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert {"x-portkey-provider: openai", "x-portkey-custom-host: http://127.0.0.1:9001/v1"} < set(lines)
    assert f"content-length: {len(body)}" in lines


def test_a_missing_peer_is_named_and_the_others_are_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "PEERS_FOLDER", tmp_path)
    assert set(TARGET_NAMES) - set(DEFAULT_TARGETS) == {"litellm", "portkey"}
    with contextlib.ExitStack() as stack:
        servers, missing = start_targets(["litellm", "portkey"], Server("direct", 1, 1), stack, tmp_path)
    assert servers == []
    assert missing == {
        "litellm": f"LiteLLM {peers.LITELLM_VERSION} is not installed: `make compare` installs it",
        "portkey": f"Portkey {peers.PORTKEY_VERSION} is not installed: `make compare` installs it",
    }


def test_another_version_than_the_pinned_one_is_not_used(installed: Path, tmp_path: Path) -> None:
    package = installed / "portkey/node_modules/@portkey-ai/gateway/package.json"
    package.write_text('{"version": "0.1.0"}')
    assert peers.portkey_version() == "0.1.0"
    with pytest.raises(NotReady, match="is not installed"):
        prepare_launch("portkey", 8787, 9001, tmp_path)


def test_an_installed_peer_is_kept(installed: Path) -> None:
    assert peers.install("litellm") == f"litellm {peers.LITELLM_VERSION} is already installed"
    assert peers.install("portkey") == f"portkey {peers.PORTKEY_VERSION} is already installed"


@pytest.mark.wire
def test_a_failed_installer_gives_its_reason(tmp_path: Path) -> None:
    log = tmp_path / "peer.log"
    with pytest.raises(NotReady, match=r"^ERROR: no such package \(see "):
        peers.run_step([sys.executable, "-c", "import sys; sys.exit('ERROR: no such package')"], log)
    with pytest.raises(NotReady, match="No such file or directory"):
        peers.run_step([tmp_path / "nowhere"], log)


def test_ratios_are_formed_to_every_measured_target() -> None:
    names = {"nginx": 1.0, "voicegw": 2.0, "litellm": 30.0, "portkey": 5.0}
    rows = [{"target": n, "overhead_p50": 0.5, "overhead_p99": 1.0, "cpu": cpu} for n, cpu in names.items()]
    add_ratios(rows)
    ratios = {key: value for key, value in rows[1].items() if key.startswith("cpu_per_")}
    assert ratios == {"cpu_per_nginx": 2.0, "cpu_per_litellm": 2 / 30, "cpu_per_portkey": 0.4}


@pytest.mark.parametrize("callers", SCENARIOS["open"].steps)
def test_idle_streams_are_all_open_when_memory_is_read(callers: int) -> None:
    """The last begins before the opening ends, and the first sends its words after that."""
    model, seconds = SCENARIOS["open"].model_and_seconds(callers, 3.0)
    assert callers / seconds < 400
    assert ResponsePlan.from_model_name(model).seconds > seconds
    assert SCENARIOS["S2"].model_and_seconds(callers, 3.0) == ("voice", 3.0)


def test_open_streams_have_begun_and_not_ended() -> None:
    ended = Stream(at=0.0, first_chunk=0.1, answer=0.2, done=0.9)
    on = Stream(at=0.5, first_chunk=0.1, answer=1.0, done=2.0)
    late = Stream(at=0.5, first_chunk=0.6, answer=1.0, done=2.0)
    cut = Stream(at=0.0, first_chunk=0.3, failure="did not end in time")
    never = Stream(at=0.0, failure="did not end in time")
    assert count_open(Load([ended, on, late, cut, never]), 1.0) == 2


def test_every_stream_is_a_row_or_a_failure() -> None:
    run = Run("litellm", "S2 x2", "closed", 2, 3.0)
    good = Stream(0.5, 0.01, 0.02, 0.33, 0.3, 0.04, 1.2, 43, 40)
    record_streams(
        run, Load([good, Stream(failure="did not end in time"), Stream(failure="did not end in time")])
    )
    assert run.failed == {"did not end in time": 2}
    assert {name: column[0] for name, column in run.times.items()} == {
        "at": 0.5, "late": None, "first_chunk": 0.01, "ack": 0.02, "answer": 0.33, "waited": 0.3,
        "gap": 0.04, "done": 1.2, "stop": None,
    }  # fmt: skip
    assert (run.void, math.isclose(run.added[0], 0.03)) == ("", True)


def test_a_run_without_successful_streams_is_void() -> None:
    run = Run("litellm", "S2 x2", "closed", 2, 3.0)
    record_streams(run, Load([Stream(failure="HTTP/1.1 500 Internal Server Error")]))
    assert run.void == "every stream failed"


@pytest.mark.wire
def test_the_cpu_of_an_ended_thread_is_counted() -> None:
    def burn() -> None:
        while time.thread_time() < 0.1:
            pass

    before = process_usage(os.getpid()).cpu
    thread = threading.Thread(target=burn)
    thread.start()
    thread.join()
    while Path(f"/proc/self/task/{thread.native_id}").exists():
        pass  # the system has not removed it yet
    assert process_usage(os.getpid()).cpu - before >= 0.08, "two ticks of the system may be missing"


@pytest.mark.wire
def test_the_usage_of_children_is_added() -> None:
    program = "import subprocess; subprocess.run(['sh', '-c', 'echo ready; read line; :'], stdin=0)"
    parent = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout
    assert parent.stdin
    with parent:
        assert parent.stdout.readline() == "ready\n"
        both = list(process_tree(parent.pid))
        assert both[0] == parent.pid
        assert len(both) == 2
        child_files = count_open_files(both[1])
        assert child_files is not None
        assert count_open_files(parent.pid) == child_files + len(os.listdir(f"/proc/{parent.pid}/fd"))
        assert process_usage(parent.pid).rss > process_usage(both[1]).rss > 0
        parent.stdin.write("end\n")
    assert (list(process_tree(parent.pid)), process_usage(parent.pid), count_open_files(parent.pid)) == (
        [],
        ResourceUsage(0.0, 0),
        0,
    )
