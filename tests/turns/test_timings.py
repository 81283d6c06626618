"""The stamps of a turn, and how they are told."""

from __future__ import annotations

from voicegw.turns.timings import Stamps, comment, line


def spoken() -> Stamps:
    stamps = Stamps(accepted=10.0, first=10.0005)
    stamps.ack = 10.0005
    stamps.speak(10.0005)
    stamps.answer = 10.3
    stamps.speak(10.3)
    stamps.speak(10.4)
    stamps.close(10.45)
    return stamps


def test_the_gap_is_the_longest_silence_also_before_and_after_speech() -> None:
    assert round(spoken().gap, 9) == 0.2995
    late = Stamps(accepted=0.0)
    late.speak(0.5)
    late.close(2.0)
    assert late.gap == 1.5
    silent = Stamps(accepted=0.0)
    silent.close(3.0)
    assert silent.gap == 3.0


def test_the_two_latencies_are_told_apart() -> None:
    assert comment(spoken()) == "ack=0.5ms answer=300.0ms gap=299.5ms"
    assert comment(Stamps(accepted=1.0)) == "ack=- answer=- gap=0.0ms"


def test_the_log_line_has_every_stamp_in_milliseconds() -> None:
    told = line(spoken(), turn="t1", error=None)
    assert told == {
        "event": "turn",
        "turn": "t1",
        "error": None,
        "first_chunk_ms": 0.5,
        "ack_ms": 0.5,
        "answer_ms": 300.0,
        "gap_ms": 299.5,
        "total_ms": 450.0,
        "stop_ms": None,
        "deltas": 0,
    }


def test_a_cancelled_turn_tells_when_and_how_long_stopping_took() -> None:
    stamps = Stamps(accepted=0.0, cancelled=1.0, stopped=1.012)
    told = line(stamps)
    assert (told["total_ms"], told["stop_ms"]) == (1000.0, 12.0)
    assert Stamps(accepted=0.0, cancelled=1.0).stop is None
