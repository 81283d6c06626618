"""The report of a simulation: exact times, and no control characters from a gateway."""

from __future__ import annotations

import json

from voicegw.simulate.checks import CheckResult
from voicegw.simulate.recording import ActionSeen, RecordedTurn, Recording
from voicegw.simulate.report import MAX_BAR_WIDTH, as_json, as_text, has_passed
from voicegw.simulate.script import CallStep

HELD, BROKEN = (
    CheckResult("answers", "every question is answered"),
    CheckResult("pong", "pings", ("too late",)),
)
IDLE = CheckResult("partial", "partial words", (), False)


def make_turn(*words: tuple[float, str], end: float | None = None, said: str = "Hello?") -> RecordedTurn:
    recorded = RecordedTurn(CallStep(say=said), 10.0, texts=[(10.0 + at, text) for at, text in words])
    recorded.end_times = [] if end is None else [10.0 + end]
    return recorded


ANSWERED = make_turn((0.01, "One moment. "), (0.4, "We are"), (0.5, " open."), end=0.8)


def render(*turns: RecordedTurn, results: tuple[CheckResult, ...] = (HELD,), failure: str = "") -> str:
    return as_text("twilio", "ws://127.0.0.1/x", Recording(turns=list(turns), failure=failure), results)


def test_waterfall_draws_each_phase_at_its_time() -> None:
    assert render(ANSWERED).splitlines()[:6] == [
        "twilio calls ws://127.0.0.1/x",
        "",
        "  1  Hello?  [answered, longest silence 390 ms]",
        f"     ack         10.0 ms |{'#'.ljust(MAX_BAR_WIDTH)}| One moment.",
        f"     answer     400.0 ms |{('#' * 20).ljust(MAX_BAR_WIDTH)}| We are open.",
        f"     end        800.0 ms |{' ' * 20}{'#' * 20}|",
    ]


def test_interruption_has_its_own_row() -> None:
    cut = make_turn((0.1, "We are"), (0.2, " open"))
    cut.stopped_at, cut.late_texts = 10.3, [(10.35, " from")]
    lines = render(cut).splitlines()
    assert lines[2].endswith("[stopped, longest silence 100 ms]")
    assert lines[4].split("|")[0].split() == ["stop", "350.0", "ms"]
    assert lines[4].endswith("last word after 50 ms")


def test_actions_and_silent_turns_are_shown() -> None:
    action = make_turn(end=0.2)
    action.actions = [(10.1, ActionSeen(0, "end_call"))]
    pressed = RecordedTurn(CallStep(press="1#"), 10.0)
    silent = RecordedTurn(CallStep(silent=True), 10.0)
    text = render(action, pressed, silent)
    assert "action     100.0 ms  end_call" in text
    assert "(presses 1#)  [unanswered" in text
    assert "(says nothing)  [unanswered" in text


def test_broken_checks_are_listed_last() -> None:
    lines = render(results=(BROKEN, IDLE, HELD)).splitlines()[2:]
    assert lines == [
        "       ok  answers: every question is answered",
        "not tried  partial: partial words",
        "   BROKEN  pong: pings",
        "           - too late",
    ]


def test_failed_call_shows_the_end_of_the_log() -> None:
    recording = Recording(failure="nobody answered", log=[(0.1 * n, "<", f"frame {n}") for n in range(20)])
    lines = as_text("vapi", "http://127.0.0.1", recording, ()).splitlines()
    assert "The simulation stopped early: nobody answered." in lines
    assert lines[-1] == "     1.900 < frame 19"
    assert len([line for line in lines if "frame" in line]) == 8


def test_control_characters_of_a_gateway_are_replaced() -> None:
    evil = "\x1b[2J\x07\r\nHi"
    recording = Recording(turns=[make_turn((0.1, evil), end=0.2)], failure=evil, log=[(0.0, "<", evil)])
    text = as_text("vapi", "http://x", recording, (CheckResult("a", "b", (evil,)),))
    assert all(char.isprintable() or char == "\n" for char in text)


def test_long_texts_are_shortened_and_zero_times_are_drawn() -> None:
    text = render(make_turn((0.0, "x" * 500), end=0.0, said="y" * 500))
    assert "…" in text
    assert all(len(line) < 130 for line in text.splitlines())


def test_json_has_all_times_in_milliseconds() -> None:
    recording = Recording(turns=[ANSWERED], gateway_close=(1.0, 1012))
    found = as_json("twilio", "ws://x", recording, (HELD, BROKEN, IDLE))
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


def test_simulation_passes_without_failure_and_broken_checks() -> None:
    assert has_passed(Recording(), (HELD, IDLE))
    assert not has_passed(Recording(), (HELD, BROKEN))
    assert not has_passed(Recording(failure="no connection"), (HELD,))


def test_skipped_steps_keep_their_place() -> None:
    recording = Recording(
        turns=[RecordedTurn(CallStep(say="Bye"), 0.0, 3)], skipped_steps=[(2, CallStep(silent=True))]
    )
    lines = as_text("twilio", "ws://x", recording, ()).splitlines()
    assert lines[2] == "  2  (says nothing)  [left out]"
    assert lines[4].startswith("  3  Bye")
    assert as_json("twilio", "ws://x", recording, ())["left_out"] == [{"turn": 2, "said": "(says nothing)"}]


def test_platform_that_stops_playback_has_no_stop_time() -> None:
    cut = make_turn((0.1, "We are"))
    cut.stopped_at, cut.stops_playback, cut.late_texts = 10.3, True, [(10.5, " open")]
    assert render(cut).splitlines()[4].endswith("the platform stops by itself")
    assert as_json("retell", "ws://x", Recording(turns=[cut]), ())["turns"][0]["stop_ms"] is None


def test_refusal_is_shown_with_its_body_and_a_hint() -> None:
    recording = Recording(failure="refused", status=401, refusal_body="no\nkey")
    lines = as_text("vapi", "http://x", recording, ()).splitlines()
    assert lines[-2] == "The gateway answered: no key"
    assert "--key-env" in lines[-1]


def test_json_has_the_end_of_the_log_after_a_failure() -> None:
    log = [(0.1 * n, "<", f"frame {n}") for n in range(20)]
    found = as_json("vapi", "http://x", Recording(failure="lost", log=log), ())
    assert found["log"][-1] == {"at_ms": 1900.0, "kind": "received", "text": "frame 19"}
    assert as_json("vapi", "http://x", Recording(log=log), ())["log"] == []
