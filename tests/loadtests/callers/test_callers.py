"""What locust's callers count is what was heard, and what goes wrong in a call has a name."""

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

from loadtests.callers import options
from loadtests.callers import recorder
from loadtests.callers.recorder import TurnRecorder
from loadtests.callers.scenarios import SCENARIOS, text_with_model
from loadtests.callers.sockets import NOT_THIS_MACHINE, MAX_BYTES, WebSocket, HttpSocket, resolve_addresses, check_size
from loadtests.callers.turn import TurnFailed, MeasuredTurn
from loadtests.servers.fault_agent import MODEL_IN_TEXT
from loadtests.servers.upstream import ResponsePlan

TOKENS = "first=0.3,every=0.02,tokens=3"
FIRST = "tok0 aaaacjjaaa"


def heard(*pieces: tuple[float, str], end: float | None = None) -> MeasuredTurn:
    """A turn that was asked at 10 s and of which these words came."""
    turn = MeasuredTurn(10.0)
    for now, text in pieces:
        turn.add_event(now)
        turn.add_text(now, text)
    if end is not None:
        turn.add_event(end)
        turn.finish(end)
    return turn


def test_every_metric_of_a_turn_is_counted_from_its_question() -> None:
    turn = heard((10.25, "One moment. "), (10.75, FIRST), (11.0, " tok1"), (11.5, " tok2"), end=11.5)
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


def test_what_the_gateway_says_itself_is_no_answer() -> None:
    turn = heard((10.25, "One moment. "), (12.0, "Still on it. "), (14.0, "Sorry, I cannot."), end=14.0)
    assert not turn.has_answer
    assert "answer-TTFT" not in dict(turn.metrics())
    assert math.isnan(turn.times()["waited"])
    assert turn.early_pieces == 3


def test_an_answer_that_was_cut_in_the_middle_of_its_mark_is_found() -> None:
    assert heard((10.25, "One moment. to"), (10.5, "k0 aaaacjjaaa")).answer == 0.5


def test_words_of_no_length_are_no_first_words() -> None:
    assert math.isnan(heard((10.25, ""), (10.5, " ")).ack)


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_agents_that_callers_wish_for_are_known_to_the_upstream(name: str) -> None:
    model = SCENARIOS[name].model
    said = MODEL_IN_TEXT.search(text_with_model(model, 1))
    assert said is not None
    assert said[1] == model
    assert model == "dead" or ResponsePlan.from_model_name(model.removeprefix("tool:"))


WHOLE = ((10.3, "One moment. "), (10.5, f"{FIRST} tok1 tok2"))
WRONG = {
    "the answer did not come to its end": ("short", heard(*WHOLE)),
    "the agent's answer was not in the turn": ("short", heard((10.3, "Sorry."), end=11.0)),
    "not all of the agent's words arrived": ("short", heard((10.3, f"{FIRST} tok2"), end=11.0)),
    "the agent ran twice": ("duplicate", heard(*WHOLE, (11.0, FIRST), end=11.0)),
    "no line of progress was heard": ("long", heard(*WHOLE, end=11.0)),
    "not a word was heard of the failure": ("dead", heard((10.3, " "), end=11.0)),
}


@pytest.mark.parametrize("why", WRONG)
def test_a_turn_that_went_wrong_says_how(why: str) -> None:
    name, turn = WRONG[why]
    with pytest.raises(TurnFailed, match=why):
        SCENARIOS[name].check(turn, TOKENS)


def test_a_turn_as_it_must_be_is_no_failure() -> None:
    SCENARIOS["short"].check(heard(*WHOLE, end=11.0), TOKENS)
    SCENARIOS["long"].check(heard((10.1, "Wait. "), *WHOLE, end=11.0), f"tool:{TOKENS}")
    SCENARIOS["dead"].check(heard((10.1, "I am sorry."), end=11.0), "dead")
    SCENARIOS["bargein"].check(heard(*WHOLE), TOKENS)


def test_a_book_gathers_what_all_workers_report() -> None:
    master = TurnRecorder()
    for worker in ("one", "two"):
        own = TurnRecorder()
        own.sample("chat short").add(recorder.known_times({"answer": 0.5, "stop": math.nan}))
        own.sample("chat short").failed["cut"] += 1
        master.add_report(own.take_report(worker, 1.0, 4.0))
        assert own.take_report(worker, 1.0, 4.0)["pages"] == {}
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


def test_a_generator_that_was_busy_itself_makes_its_runs_void() -> None:
    master, own = TurnRecorder(), TurnRecorder()
    own.sample("chat short").add({"answer": 0.5})
    master.add_report(own.take_report("one", 3.9, 4.0))
    assert master.runs("voicegw", 1)[0].void == "a generator used 98% of its core"


def test_a_book_is_bounded_and_says_what_it_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "MOST", 4)
    written = TurnRecorder()
    for number in range(100):
        written.sample("chat short").add({"at": float(number)})
    assert len(written.samples["chat short"].rows) == 4
    assert written.notes()[1] == "chat short: a sample of 4 of 100 turns"


def test_no_secret_is_written_into_the_results() -> None:
    shown = options.redact_command(["locust", "--key", "abc", "--twilio-token=def", "--turns", "2"])
    assert shown == ["locust", "--key", "***", "--twilio-token=***", "--turns", "2"]


def test_tags_that_no_call_has_are_told_among_them_names_of_callers() -> None:
    asked = Namespace(tags=["short", "mixed", "ChatCaller"], exclude_tags=["ded"])
    assert options.unknown_tags(asked) == ["ChatCaller", "ded"]
    assert options.unknown_tags(Namespace(tags=None, exclude_tags=None)) == []


def test_an_address_without_http_is_none() -> None:
    with pytest.raises(ValueError, match="must be http"):
        options.caller_options(Namespace(), "chat", "127.0.0.1:8080")


@pytest.mark.parametrize("url", ["http://127.0.0.1:80", "http://[::1]:80", "wss://127.9.9.9"])
def test_this_machine_may_be_called(url: str) -> None:
    assert resolve_addresses(urlsplit(url), anywhere=False)


def test_another_machine_may_be_called_only_if_that_is_said() -> None:
    url = urlsplit("https://192.0.2.1")
    with pytest.raises(TurnFailed, match=NOT_THIS_MACHINE):
        resolve_addresses(url, anywhere=False)
    assert resolve_addresses(url, anywhere=True) == [("192.0.2.1", 443)]


def test_an_address_without_a_host_is_none() -> None:
    with pytest.raises(TurnFailed, match="the target has no name"):
        resolve_addresses(urlsplit("http://"), anywhere=False)


def test_an_answer_without_end_is_given_up() -> None:
    assert check_size(MAX_BYTES) == MAX_BYTES
    with pytest.raises(TurnFailed, match="more than 4 MB came"):
        check_size(MAX_BYTES + 1)


@pytest.mark.parametrize(
    ("scheme", "head"),
    [
        ("http", b"HTTP/1.1 200 OK\r\n\r\n"),
        ("ws", b"HTTP/1.1 101 Switching Protocols\r\nx: "),
    ],
)
@pytest.mark.wire
def test_who_floods_a_caller_is_hung_up_on(scheme: str, head: bytes) -> None:
    """A socket that always has more would leave nobody else a turn, so no clock would end the run."""
    with flood(head) as port:
        address = f"{scheme}://127.0.0.1:{port}/"
        with pytest.raises(TurnFailed, match=r"more than 4 MB came|was not taken"):
            rung(address)


def rung(address: str) -> None:
    """Ask there, or open a call, and hear all that comes."""
    if address.startswith("ws"):
        WebSocket(address, {}, anywhere=False).close()
        return
    with closing(HttpSocket(urlsplit(address), anywhere=False)) as wire:
        deque(wire.request(b"POST / HTTP/1.1\r\n\r\n"), maxlen=0)


@contextmanager
def flood(head: bytes) -> Iterator[int]:
    """The port of a server that answers once, and never stops."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with server.accept()[0] as line, suppress(OSError):
                line.recv(65536)
                line.sendall(head)
                while True:
                    line.sendall(b"x" * 65536)

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        thread.join()
