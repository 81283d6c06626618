"""The metrics of locust's callers are those of the events that came, and every failure has a name."""

from __future__ import annotations

import math
import socket
import threading
from argparse import Namespace
from collections import deque
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from urllib.parse import urlsplit

import pytest

from loadtests.callers import options, recorder
from loadtests.callers.recorder import TurnRecorder
from loadtests.callers.scenarios import SCENARIOS, text_with_model
from loadtests.callers.sockets import (
    MAX_BYTES,
    NOT_THIS_MACHINE,
    HttpSocket,
    WebSocket,
    check_size,
    resolve_addresses,
)
from loadtests.callers.turn import MeasuredTurn, TurnFailed
from loadtests.generate.response_plan import ResponsePlan
from loadtests.servers.fault_agent import MODEL_IN_TEXT

TOKENS = "first=0.3,every=0.02,tokens=3"
FIRST = "tok0 aaaacjjaaa"


def turn_with(*pieces: tuple[float, str], end: float | None = None) -> MeasuredTurn:
    """Return a turn that was asked at 10 s and to which these words came."""
    turn = MeasuredTurn(10.0)
    for now, text in pieces:
        turn.add_event(now)
        turn.add_text(now, text)
    if end is not None:
        turn.add_event(end)
        turn.finish(end)
    return turn


def test_every_metric_counts_from_the_question() -> None:
    turn = turn_with((10.25, "One moment. "), (10.75, FIRST), (11.0, " tok1"), (11.5, " tok2"), end=11.5)
    assert list(turn.metrics()) == [
        ("first chunk", 0.25),
        ("ack-TTFT", 0.25),
        ("answer-TTFT", 0.75),
        ("longest gap", 0.5),
        ("inter-delta gap", 0.25),
        ("inter-delta gap", 0.5),
        ("turn", 1.5),
    ]
    assert turn.times()["waited"] == 0.299


def test_words_of_the_gateway_are_not_the_answer() -> None:
    turn = turn_with((10.25, "One moment. "), (12.0, "Still on it. "), (14.0, "Sorry, I cannot."), end=14.0)
    assert not turn.has_answer
    assert "answer-TTFT" not in dict(turn.metrics())
    assert math.isnan(turn.times()["waited"])
    assert turn.early_pieces == 3


def test_a_mark_split_between_two_deltas_is_found() -> None:
    assert turn_with((10.25, "One moment. to"), (10.5, "k0 aaaacjjaaa")).answer == 0.5


def test_blank_text_is_not_the_first_words() -> None:
    assert math.isnan(turn_with((10.25, ""), (10.5, " ")).ack)


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_upstream_knows_the_model_of_every_scenario(name: str) -> None:
    model = SCENARIOS[name].model
    found = MODEL_IN_TEXT.search(text_with_model(model, 1))
    assert found is not None
    assert found[1] == model
    assert model == "dead" or ResponsePlan.from_model_name(model.removeprefix("tool:"))


WHOLE = ((10.3, "One moment. "), (10.5, f"{FIRST} tok1 tok2"))
WRONG = {
    "the answer did not end": ("short", turn_with(*WHOLE)),
    "the agent's answer was not in the turn": ("short", turn_with((10.3, "Sorry."), end=11.0)),
    "some of the agent's tokens are missing": ("short", turn_with((10.3, f"{FIRST} tok2"), end=11.0)),
    "the agent ran twice": ("duplicate", turn_with(*WHOLE, (11.0, FIRST), end=11.0)),
    "no line of progress was heard": ("long", turn_with(*WHOLE, end=11.0)),
    "no words about the failure were heard": ("dead", turn_with((10.3, " "), end=11.0)),
}


@pytest.mark.parametrize("reason", WRONG)
def test_a_failed_turn_has_its_reason(reason: str) -> None:
    name, turn = WRONG[reason]
    with pytest.raises(TurnFailed, match=reason):
        SCENARIOS[name].check(turn, TOKENS)


def test_a_correct_turn_is_no_failure() -> None:
    SCENARIOS["short"].check(turn_with(*WHOLE, end=11.0), TOKENS)
    SCENARIOS["long"].check(turn_with((10.1, "Wait. "), *WHOLE, end=11.0), f"tool:{TOKENS}")
    SCENARIOS["dead"].check(turn_with((10.1, "I am sorry."), end=11.0), "dead")
    SCENARIOS["bargein"].check(turn_with(*WHOLE), TOKENS)


def test_the_recorder_collects_the_turns_of_all_workers() -> None:
    master = TurnRecorder()
    for worker in ("one", "two"):
        own = TurnRecorder()
        own.sample("chat short").add(recorder.known_times({"answer": 0.5, "stop": math.nan}))
        own.sample("chat short").failed["cut"] += 1
        master.add_report(own.take_report(worker, 1.0, 4.0))
        assert own.take_report(worker, 1.0, 4.0)["samples"] == {}
    (run,) = master.runs("voicegw", 8)
    assert (run.target, run.scenario, run.loop, run.offered, run.seconds) == (
        "voicegw",
        "chat short",
        "closed",
        8,
        4.0,
    )
    assert run.times["answer"] == [0.5, 0.5]
    assert run.times["stop"] == [None, None]
    assert run.failed == {"cut": 2}
    assert (run.turns, run.void) == (4, "")
    assert master.notes() == ["2 generators used 2.00 s of CPU, the busiest 25% of its core"]


def test_a_busy_generator_makes_its_runs_void() -> None:
    master, own = TurnRecorder(), TurnRecorder()
    own.sample("chat short").add({"answer": 0.5})
    master.add_report(own.take_report("one", 3.9, 4.0))
    assert master.runs("voicegw", 1)[0].void == "a generator used 98% of its core"


def test_the_recorder_keeps_a_bounded_sample_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "MAX_ROWS", 4)
    bounded = TurnRecorder()
    for number in range(100):
        bounded.sample("chat short").add({"at": float(number)})
    assert len(bounded.samples["chat short"].rows) == 4
    assert bounded.notes()[1] == "chat short: a sample of 4 of 100 turns"


def test_results_have_no_secrets() -> None:
    shown = options.redact_command(["locust", "--key", "abc", "--twilio-token=def", "--turns", "2"])
    assert shown == ["locust", "--key", "***", "--twilio-token=***", "--turns", "2"]


def test_unknown_tags_are_found_also_names_of_user_classes() -> None:
    given = Namespace(tags=["short", "mixed", "ChatCaller"], exclude_tags=["ded"])
    assert options.unknown_tags(given) == ["ChatCaller", "ded"]
    assert options.unknown_tags(Namespace(tags=None, exclude_tags=None)) == []


def test_an_address_without_http_is_rejected() -> None:
    with pytest.raises(ValueError, match="must be http"):
        options.caller_options(Namespace(), "chat", "127.0.0.1:8080")


@pytest.mark.parametrize("url", ["http://127.0.0.1:80", "http://[::1]:80", "wss://127.9.9.9"])
def test_this_machine_is_a_valid_target(url: str) -> None:
    assert resolve_addresses(urlsplit(url), anywhere=False)


def test_another_machine_needs_anywhere() -> None:
    url = urlsplit("https://192.0.2.1")
    with pytest.raises(TurnFailed, match=NOT_THIS_MACHINE):
        resolve_addresses(url, anywhere=False)
    assert resolve_addresses(url, anywhere=True) == [("192.0.2.1", 443)]


def test_an_address_without_a_host_is_rejected() -> None:
    with pytest.raises(TurnFailed, match="the address of the target has no host"):
        resolve_addresses(urlsplit("http://"), anywhere=False)


def test_an_answer_above_the_limit_fails() -> None:
    assert check_size(MAX_BYTES) == MAX_BYTES
    with pytest.raises(TurnFailed, match="the answer is longer than 4 MB"):
        check_size(MAX_BYTES + 1)


@pytest.mark.parametrize(
    ("scheme", "head"),
    [
        ("http", b"HTTP/1.1 200 OK\r\n\r\n"),
        ("ws", b"HTTP/1.1 101 Switching Protocols\r\nx: "),
    ],
)
@pytest.mark.wire
def test_a_flood_of_bytes_ends_the_connection(scheme: str, head: bytes) -> None:
    """A socket that always has data would never yield to other greenlets, so no timeout would end the run."""
    with flood(head) as port:
        address = f"{scheme}://127.0.0.1:{port}/"
        with pytest.raises(TurnFailed, match=r"the answer is longer than 4 MB|was refused"):
            send_request(address)


def send_request(address: str) -> None:
    """Send a request, or open a websocket, and read everything that comes."""
    if address.startswith("ws"):
        WebSocket(address, {}, anywhere=False).close()
        return
    with closing(HttpSocket(urlsplit(address), anywhere=False)) as http:
        deque(http.request(b"POST / HTTP/1.1\r\n\r\n"), maxlen=0)


@contextmanager
def flood(head: bytes) -> Iterator[int]:
    """Yield the port of a server that answers once and sends without end."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with server.accept()[0] as connection, suppress(OSError):
                connection.recv(65536)
                connection.sendall(head)
                while True:
                    connection.sendall(b"x" * 65536)

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        thread.join()
