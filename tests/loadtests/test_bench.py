"""The benchmark counts right, loses nothing, and keeps the two latencies apart."""

from __future__ import annotations

import asyncio
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from loadtests.bench import add_ratios
from loadtests.generate import closed_loop
from loadtests.generate.streams import Stream, compute_figures
from loadtests.micro import speech, turns
from loadtests.report import comparison
from loadtests.report.results import Check, Overhead, Results, Run, Sample, describe_environment, quantile
from loadtests.servers.launch import free_port
from loadtests.servers.upstream import (
    STREAM_HEAD,
    STREAM_START,
    Upstream,
    UpstreamStats,
    decode_wait,
    encode_chunk,
    encode_first_token,
    later_tokens,
)

ROOT = Path(__file__).parents[2]
ACK = STREAM_HEAD + encode_chunk({"role": "assistant", "content": "One moment... "})


class NullTransport(asyncio.Transport):
    """Discards what is written."""

    aborted = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        pass

    def is_closing(self) -> bool:
        return False

    def abort(self) -> None:
        self.aborted = True


async def receive(*reads: bytes) -> Stream:
    """Return the stream that a connection makes of a response that comes in these reads."""
    connection = closed_loop.ChatConnection(b"")
    connection.connection_made(NullTransport())
    result = connection.send()
    for data in reads:
        connection.data_received(data)
    return await result


async def test_a_stream_is_counted_alike_for_every_cut() -> None:
    whole = ACK + encode_first_token(0.25) + b"".join(later_tokens(3))
    for cut in range(1, len(whole)):
        stream = await receive(whole[:cut], whole[cut:])
        assert (stream.failure, stream.events, stream.tokens, stream.waited) == ("", 6, 3, 0.25), cut


async def test_an_error_status_with_an_answer_fails() -> None:
    whole = ACK + encode_first_token(0.25) + b"".join(later_tokens(3))
    refused = whole.replace(b"200 OK", b"500 Oh\x1b no", 1)
    assert (await receive(refused)).failure == (await receive(refused[:5], refused[5:])).failure
    assert (await receive(refused)).failure == "HTTP/1.1 500 Oh? no"


async def test_an_answer_above_the_limit_fails() -> None:
    stream = await receive(STREAM_HEAD, *[b"x" * 1_000_000] * 17)
    assert stream.failure == "the answer is longer than 16 MB"


async def test_bytes_without_a_request_end_the_connection() -> None:
    connection, transport = closed_loop.ChatConnection(b""), NullTransport()
    connection.connection_made(transport)
    connection.data_received(b"220 Hello, I speak first\r\n")
    assert transport.aborted


async def test_the_acknowledgement_is_not_the_answer() -> None:
    stream = await receive(ACK, encode_first_token(0.25), b"".join(later_tokens(3)))
    assert stream.first_chunk == stream.ack < stream.answer
    silent = await receive(STREAM_START, encode_first_token(0.25), b"".join(later_tokens(3)))
    assert silent.first_chunk < silent.ack == silent.answer


async def test_a_stream_without_the_answer_fails() -> None:
    stream = await receive(ACK, later_tokens(1)[0])
    assert stream.failure == "the upstream's answer was not in the stream"
    assert math.isnan(stream.answer)


async def test_a_refused_stream_fails_with_its_status_line() -> None:
    assert (await receive(b"HTTP/1.1 401 Unauthorized\r\n\r\n")).failure == "HTTP/1.1 401 Unauthorized"


@pytest.mark.parametrize("seconds", [0.0, 0.000001, 0.3, 59.999999])
def test_the_first_token_encodes_the_wait_of_the_upstream(seconds: float) -> None:
    mark = closed_loop.FIRST_TOKEN.search(encode_first_token(seconds))
    assert mark is not None
    assert decode_wait(mark[1]) == seconds


def test_results_survive_their_file(tmp_path: Path) -> None:
    run = Run(
        "voicegw", "short", "open", 20.0, 3.0, seed=7, failed={"cut": 1}, samples=[Sample(1.0, 0.2, 9, 8, 7)]
    )
    run.add(at=0.0, answer=0.31, waited=0.3, stop=math.nan)
    run.add(at=0.1, ack=0.01)
    run.checks.append(Check("agent runs", True, "0", "0"))
    written = Results(
        describe_environment(7, ("load",)), [run], [Overhead("voicegw", "short", 0.5, 1e-3, 9e-4, 2e-3)]
    )
    written.write(tmp_path / "results" / "one.json")
    read = Results.read(tmp_path / "results" / "one.json")
    assert read == written
    assert read.environment["command"] == "load"
    assert read.runs[0].values("ack") == [0.01]
    assert read.runs[0].times["stop"] == [None, None]
    assert read.runs[0].added == [pytest.approx(0.01)]


def test_a_file_of_another_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text('{"runs": []}')
    with pytest.raises(ValueError, match="does not hold results of a load test"):
        Results.read(tmp_path / "other.json")


def test_a_quantile_is_a_measured_value() -> None:
    values = [float(n) for n in range(100, 0, -1)]
    assert [quantile(values, q) for q in (0.0, 0.5, 0.99, 1.0)] == [1.0, 51.0, 100.0, 100.0]
    assert quantile([math.nan, 2.0], 0.5) == 2.0
    assert math.isnan(quantile([], 0.5))


def row(target: str, overhead: float, cpu: float | None, rate: float, held: bool = True) -> dict[str, Any]:
    counts = {"streams": 10, "failed": 0, "events": 230, "tokens": 200, "held": held, "why": {}}
    times = {"overhead_p50": overhead, "overhead_p99": overhead * 2, "per_second": rate}
    used = {} if cpu is None else {"cpu": cpu}
    return {"scenario": "S3", "callers": 100, "target": target, **counts, **times, **used}


def test_ratios_are_formed_within_a_round_before_the_median() -> None:
    rows = []
    for nginx, ours in ((1.0, 2.0), (2.0, 10.0), (4.0, 12.0)):
        turn = [row("direct", 0.5, None, 8), row("nginx", 1.5, nginx, 4), row("voicegw", 2.5, ours, 2)]
        add_ratios(turn)
        rows += turn
    direct, nginx_, ours_ = comparison.summarise_rounds(rows)
    assert "added_p50" not in direct
    assert (nginx_["added_p50"], ours_["added_p50"], ours_["added_p99"]) == (1.0, 2.0, 4.0)
    assert (ours_["added_p50_per_nginx"], ours_["cpu_per_nginx"], ours_["per_second_per_nginx"]) == (
        2,
        3,
        0.5,
    )
    assert (ours_["streams"], ours_["tokens"]) == (30, 600)


def test_a_step_is_held_if_most_rounds_held_it() -> None:
    rows = [row("nginx", 1, 1, 1, held) for held in (True, False, True)]
    assert "S3: nginx held 100 streams" in comparison.format_table(rows, {})
    assert "S3: nginx held 0 streams" in comparison.format_table(rows[1:], {})


@pytest.mark.wire
async def test_callers_and_upstream_count_equal_streams() -> None:
    stats = UpstreamStats()
    server = await asyncio.get_running_loop().create_server(lambda: Upstream(stats), "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        load = await closed_loop.run(port, "first=0.01,every=0.001,tokens=5", callers=8, seconds=0.1)
    figures = compute_figures(load)
    assert figures["failed"] == 0
    assert figures["streams"] >= 8
    assert stats == UpstreamStats(begun=len(load.succeeded), ended=len(load.succeeded))
    assert (figures["events"], figures["tokens"]) == (8 * len(load.succeeded), 5 * len(load.succeeded))


@pytest.mark.wire
async def test_a_server_that_is_down_gives_one_failed_stream() -> None:
    load = await closed_loop.run(free_port(), "quick", callers=8, seconds=0.1)
    assert [stream.failure for stream in load.streams] == ["could not connect: ConnectionRefusedError"]
    assert "answer_p50" not in comparison.medians_and_sums([{**compute_figures(load), "held": False}])


@pytest.mark.wire
async def test_a_client_that_disconnects_ends_its_stream() -> None:
    stats, is_closed = UpstreamStats(), asyncio.Event()

    class WatchedUpstream(Upstream):
        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            is_closed.set()

    server = await asyncio.get_running_loop().create_server(lambda: WatchedUpstream(stats), "127.0.0.1", 0)
    async with server, asyncio.timeout(5):
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(closed_loop.encode_request(0, "first=3000", ""))
        await reader.readuntil(b"assistant")
        assert stats == UpstreamStats(begun=1, active=1)
        writer.close()
        await is_closed.wait()
    assert stats == UpstreamStats(begun=1, left=1)


@pytest.mark.wire
async def test_every_kind_of_turn_has_its_cost(capsys: pytest.CaptureFixture[str]) -> None:
    """Each kind checks the number of agent requests and the words that came."""
    costs = await turns.measure(rounds=2, turns=8)
    assert {name: len(rounds) for name, rounds in costs.items()} == dict.fromkeys(turns.KINDS, 2)
    turns.print_costs({"new": [100.0, 300.0, 110.0], "joined": [50.0, 60.0, 55.0]})
    assert capsys.readouterr().out.split()[-3:] == ["joined", "55", "0.50"]


@pytest.mark.wire
def test_the_benchmark_measures_every_target_consistently(tmp_path: Path) -> None:
    result = tmp_path / "bench.json"
    scope = "--scenarios S1,S2,S5 --targets direct,naive,voicegw"
    options = f"{scope} --rounds 1 --seconds 0.2 --json {result} --out {tmp_path / 'out'}"
    done = subprocess.run(
        [sys.executable, "-m", "loadtests.bench", *options.split()],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    bench = json.loads(result.read_bytes())
    assert bench["missing"] == {}
    counted = {(r["scenario"], r["target"]) for r in bench["rows"]}
    assert counted == {(s, t) for s in ("S1", "S2", "S5") for t in ("direct", "naive", "voicegw")}
    tokens = {"S1": 20, "S2": 40, "S5": 10}
    for measured, summed in zip(sorted_rows(bench["rows"]), sorted_rows(bench["summary"]), strict=True):
        assert measured["why"] == {}
        assert measured["streams"] == summed["streams"] >= measured["callers"]
        assert measured["tokens"] == summed["tokens"] == measured["streams"] * tokens[measured["scenario"]]
    runs = Results.read(tmp_path / "out" / "results.json").runs
    for measured, run in zip(bench["rows"], runs, strict=True):
        which = (measured["target"], measured["scenario"], measured["callers"])
        assert (run.target, run.scenario, run.offered, run.void) == (*which, "")
        assert {len(run.values(n)) for n in ("at", "first_chunk", "ack", "answer", "gap", "done")} == {
            measured["streams"]
        }
        assert run.samples[0].rss > 0
    kept = {file.name for file in (tmp_path / "out" / "servers").iterdir()}
    assert {"voicegw.toml", "voicegw.json", "voicegw.log", "naive.json", "upstream.log"} <= kept
    assert (tmp_path / "out" / "table.txt").read_text() == done.stdout


@pytest.mark.wire
def test_the_speech_benchmark_measures_every_text_with_every_method(tmp_path: Path) -> None:
    result = tmp_path / "speech.json"
    options = f"--rounds 2 --chars 2000 --small 64 --large 256 --json {result}"
    done = subprocess.run(
        [sys.executable, "-m", "loadtests.micro.speech", *options.split()],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    bench = json.loads(result.read_bytes())
    assert len(bench["rows"]) == 2 * len(bench["summary"])
    assert {(r["text"], r["way"]) for r in bench["summary"] if "text" in r} == {
        (text, way) for text in speech.TEXTS for way in speech.METHODS
    }
    assert [r["unit"] for r in bench["summary"] if "unit" in r] == speech.UNCLOSED_MARKUP
    assert len(done.stdout.splitlines()) == len(bench["summary"]) + 3


def test_the_speech_methods_get_the_same_text() -> None:
    deltas = speech.split_deltas(speech.ENGLISH)
    spoken = {name: method(deltas) for name, method in speech.METHODS.items()}
    assert spoken["untouched"] == spoken["voicegw"] == speech.ENGLISH
    assert speech.ENGLISH[:60] in spoken["markdown-it"]


def sorted_rows(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda r: (r["scenario"], r["target"]))


@pytest.mark.wire
def test_the_call_soak_measures_every_turn(tmp_path: Path) -> None:
    out = tmp_path / "calls.json"
    options = f"--idle 3 --talking 2 --seconds 4 --json {out}".split()
    subprocess.run(
        [sys.executable, "-m", "loadtests.generate.call_soak", *options], cwd=ROOT, timeout=60, check=True
    )
    raw = json.loads(out.read_text())
    assert raw["failed"] == 0
    assert raw["turns"] >= 2
    assert len(raw["first"]) >= len(raw["added"]) >= raw["turns"]
    assert raw["pings"]
