"""The fuzzers: inputs repeat with their seed, the judges find flaws, and a short run of all three passes."""

from __future__ import annotations

import re
import subprocess
import sys
from random import Random

import orjson
import pytest

from loadtests.fuzz import __main__ as fuzz
from loadtests.fuzz.agent_streams import STREAMS, draw_answer, judge_stream
from loadtests.fuzz.http_requests import CHAT, judge
from loadtests.fuzz.mutations import cut, mutate_bytes, mutate_json
from loadtests.fuzz.websocket_frames import URLS, encode_frame, platform_messages
from loadtests.fuzz.wire import HttpAnswers
from loadtests.report.results import ROOT
from voicegw.simulate.chat_reader import ChatReader

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"


@pytest.mark.parametrize("seed", range(20))
def test_an_input_repeats_with_its_seed(seed: int) -> None:
    def draw() -> list[bytes]:
        random = Random(seed)
        kind = random.choice(sorted(STREAMS))
        return [
            *(mutate_json(random, CHAT), mutate_bytes(random, orjson.dumps(CHAT))),
            *(encode_frame(random, b"{}"), *draw_answer(random, kind)),
        ]

    assert draw() == draw()


def test_mutations_change_their_input_and_cuts_keep_it() -> None:
    plain = orjson.dumps(CHAT)
    changed = [mutate_json(Random(seed), CHAT) for seed in range(100)]
    assert sum(text != plain for text in changed) > 90
    assert len(set(changed)) > 90
    for seed in range(100):
        assert b"".join(cut(Random(seed), plain)) == plain


@pytest.mark.parametrize("name", sorted(URLS))
def test_every_platform_has_messages(name: str) -> None:
    url, _, messages = platform_messages(name)
    assert url.startswith("ws://127.0.0.1/")
    assert len(messages) > 3


def answers(*data: bytes) -> HttpAnswers:
    found = HttpAnswers()
    for part in data:
        found.feed(part)
    return found


@pytest.mark.parametrize(
    ("data", "flaw"),
    [
        (OK, ""),
        (OK + OK, ""),
        (b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n", "answered with status 500"),
        (OK[:-1], "the connection closed before the answer had ended"),
        (b"", "the connection closed before the answer had ended"),
        (b"ok", "the answer is not HTTP: Expected HTTP/, RTSP/ or ICE/"),
    ],
)
def test_flaws_of_http_answers_are_found(data: bytes, flaw: str) -> None:
    assert judge(answers(data), must_answer=True) == flaw


def test_flaws_of_streams_are_found() -> None:
    head = b'data: {"id":"a","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,'
    words = head + b'"delta":{"role":"assistant","content":"Hello."},"finish_reason":null}]}\n\n'
    end = head + b'"delta":{},"finish_reason":"stop"}]}\n\n'
    assert judge_stream(ChatReader(), words + end + b"data: [DONE]\n\n") == ""
    assert judge_stream(ChatReader(), words + end) == "done: the body ended without [DONE]"
    assert judge_stream(ChatReader(), end + b"data: [DONE]\n\n") == "the caller heard nothing"


@pytest.mark.parametrize("replay", ["http", "http:x", "smtp:1"])
def test_replay_needs_a_fuzzer_and_a_number(replay: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        fuzz.parse_options(["--replay", replay])
    assert "such as http:12" in capsys.readouterr().err


def run_fuzz(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "loadtests.fuzz", *options],
        cwd=ROOT, capture_output=True, text=True, timeout=90, check=False,
    )  # fmt: skip


@pytest.mark.wire
def test_a_short_run_of_the_command_of_the_docs_finds_no_flaw() -> None:
    page = (ROOT / "docs" / "load-testing.md").read_text("utf-8")
    [command] = re.findall(r"^python -m loadtests\.fuzz (.*)$", page, re.M)
    done = run_fuzz(*command.replace("--seconds 60", "--seconds 2").split())
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    rows = [line.split() for line in done.stdout.splitlines() if not line.startswith("fuzzer")]
    assert [row[0] for row in rows] == ["http", "websocket", "agent"]
    assert all(int(row[2]) > 20 for row in rows)


@pytest.mark.wire
def test_an_input_can_be_replayed() -> None:
    done = run_fuzz("--replay", "agent:3", "--seed", "7")
    assert (done.returncode, done.stdout) == (0, "no flaw\n"), done.stderr
