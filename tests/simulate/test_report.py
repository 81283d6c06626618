"""What is told of a rehearsal: every millisecond in its row, and no control character of a gateway's."""

from __future__ import annotations

import json

from voicegw.simulate.checks import CheckResult
from voicegw.simulate.recording import ActionSeen, Recording, RecordedTurn
from voicegw.simulate.report import MAX_BAR_WIDTH, as_json, as_text, has_passed
from voicegw.simulate.script import CallStep

HELD, BROKEN = CheckResult("answers", "every question is answered"), CheckResult("pong", "pings", ("too late",))
IDLE = CheckResult("partial", "partial words", (), False)


def turn(*words: tuple[float, str], end: float | None = None, said: str = "Hello?") -> RecordedTurn:
    taped = RecordedTurn(CallStep(say=said), 10.0, texts=[(10.0 + at, text) for at, text in words])
    taped.end_times = [] if end is None else [10.0 + end]
    return taped


ANSWERED = turn((0.01, "One moment. "), (0.4, "We are"), (0.5, " open."), end=0.8)


def told(*turns: RecordedTurn, verdicts: tuple[CheckResult, ...] = (HELD,), failure: str = "") -> str:
    return as_text("twilio", "ws://127.0.0.1/x", Recording(turns=list(turns), failure=failure), verdicts)


def test_the_waterfall_shows_each_phase_where_it_lies() -> None:
    assert told(ANSWERED).splitlines()[:6] == [
        "twilio calls ws://127.0.0.1/x",
        "",
        "  1  Hello?  [answered, longest silence 390 ms]",
        f"     ack         10.0 ms |{'#'.ljust(MAX_BAR_WIDTH)}| One moment.",
        f"     answer     400.0 ms |{('#' * 20).ljust(MAX_BAR_WIDTH)}| We are open.",
        f"     end        800.0 ms |{' ' * 20}{'#' * 20}|",
    ]


def test_an_interruption_has_its_own_row() -> None:
    cut = turn((0.1, "We are"), (0.2, " open"))
    cut.stopped_at, cut.late_texts = 10.3, [(10.35, " from")]
    lines = told(cut).splitlines()
    assert lines[2].endswith("[stopped, longest silence 100 ms]")
    assert lines[4].split("|")[0].split() == ["stop", "350.0", "ms"]
    assert lines[4].endswith("last word after 50 ms")


def test_what_the_agent_did_is_named_and_silent_turns_too() -> None:
    acted = turn(end=0.2)
    acted.actions = [(10.1, ActionSeen(0, "end_call"))]
    pressed = RecordedTurn(CallStep(press="1#"), 10.0)
    silent = RecordedTurn(CallStep(silent=True), 10.0)
    text = told(acted, pressed, silent)
    assert "action     100.0 ms  end_call" in text
    assert "(presses 1#)  [unanswered" in text
    assert "(says nothing)  [unanswered" in text


def test_what_broke_is_told_last() -> None:
    lines = told(verdicts=(BROKEN, IDLE, HELD)).splitlines()[2:]
    assert lines == [
        "       ok  answers: every question is answered",
        "not tried  partial: partial words",
        "   BROKEN  pong: pings",
        "           - too late",
    ]


def test_a_call_that_could_not_go_on_shows_what_came_last() -> None:
    tape = Recording(failure="nobody answered", log=[(0.1 * n, "<", f"frame {n}") for n in range(20)])
    lines = as_text("vapi", "http://127.0.0.1", tape, ()).splitlines()
    assert "The call could not go on: nobody answered." in lines
    assert lines[-1] == "     1.900 < frame 19"
    assert len([line for line in lines if "frame" in line]) == 8


def test_nothing_that_a_gateway_sent_commands_the_terminal() -> None:
    evil = "\x1b[2J\x07\r\nHi"
    tape = Recording(turns=[turn((0.1, evil), end=0.2)], failure=evil, log=[(0.0, "<", evil)])
    text = as_text("vapi", "http://x", tape, (CheckResult("a", "b", (evil,)),))
    assert all(char.isprintable() or char == "\n" for char in text)


def test_long_words_are_cut_and_zero_times_drawn() -> None:
    text = told(turn((0.0, "x" * 500), end=0.0, said="y" * 500))
    assert "…" in text
    assert all(len(line) < 130 for line in text.splitlines())


def test_json_has_it_all_in_milliseconds() -> None:
    tape = Recording(turns=[ANSWERED], gateway_close=(1.0, 1012))
    found = as_json("twilio", "ws://x", tape, (HELD, BROKEN, IDLE))
    assert json.loads(json.dumps(found)) == found
    assert (found["good"], found["closed"], found["failure"]) == (False, 1012, None)
    [first] = found["turns"]
    times = {name: value for name, value in first.items() if name.endswith("_ms")}
    assert times == {
        "first_ms": 10.0,
        "ack_ms": 10.0,
        "answer_ms": 400.0,
        "gap_ms": 390.0,
        "end_ms": 800.0,
        "stop_ms": None,
    }
    assert [check["state"] for check in found["checks"]] == ["held", "broken", "not tried"]


def test_good_is_what_came_to_its_end_with_nothing_broken() -> None:
    assert has_passed(Recording(), (HELD, IDLE))
    assert not has_passed(Recording(), (HELD, BROKEN))
    assert not has_passed(Recording(failure="no connection"), (HELD,))


def test_what_was_left_out_keeps_its_place() -> None:
    tape = Recording(turns=[RecordedTurn(CallStep(say="Bye"), 0.0, 3)], skipped_steps=[(2, CallStep(silent=True))])
    lines = as_text("twilio", "ws://x", tape, ()).splitlines()
    assert lines[2] == "  2  (says nothing)  [left out]"
    assert lines[4].startswith("  3  Bye")
    assert as_json("twilio", "ws://x", tape, ())["left_out"] == [{"turn": 2, "said": "(says nothing)"}]


def test_a_platform_that_stops_by_itself_has_no_time_of_stopping() -> None:
    cut = turn((0.1, "We are"))
    cut.stopped_at, cut.stops_playback, cut.late_texts = 10.3, True, [(10.5, " open")]
    assert told(cut).splitlines()[4].endswith("the platform stops by itself")
    assert as_json("retell", "ws://x", Recording(turns=[cut]), ())["turns"][0]["stop_ms"] is None


def test_a_refusal_is_told_with_its_body_and_a_hint_and_without_an_empty_log() -> None:
    tape = Recording(failure="refused", status=401, refusal_body="no\nkey")
    lines = as_text("vapi", "http://x", tape, ()).splitlines()
    assert lines[-2] == "It said: no key"
    assert "--key-env" in lines[-1]


def test_json_has_the_last_of_the_log_if_something_is_wrong() -> None:
    log = [(0.1 * n, "<", f"frame {n}") for n in range(20)]
    found = as_json("vapi", "http://x", Recording(failure="lost", log=log), ())
    assert found["log"][-1] == {"at_ms": 1900.0, "kind": "received", "text": "frame 19"}
    assert as_json("vapi", "http://x", Recording(log=log), ())["log"] == []
