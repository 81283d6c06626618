"""The stamps of a turn, and how they are told."""

from __future__ import annotations

from voicegw.turns.timings import TurnTimings, as_log_record, comment


def spoken() -> TurnTimings:
    stamps = TurnTimings(accepted=10.0, first_chunk=10.0005)
    stamps.first_ack = 10.0005
    stamps.mark_audible(10.0005)
    stamps.first_token = 10.3
    stamps.mark_audible(10.3)
    stamps.mark_audible(10.4)
    stamps.close(10.45)
    return stamps


def test_the_gap_is_the_longest_silence_also_before_and_after_speech() -> None:
    assert round(spoken().longest_gap, 9) == 0.2995
    late = TurnTimings(accepted=0.0)
    late.mark_audible(0.5)
    late.close(2.0)
    assert late.longest_gap == 1.5
    silent = TurnTimings(accepted=0.0)
    silent.close(3.0)
    assert silent.longest_gap == 3.0


def test_the_two_latencies_are_told_apart() -> None:
    assert comment(spoken()) == "ack=0.5ms answer=300.0ms gap=299.5ms"
    assert comment(TurnTimings(accepted=1.0)) == "ack=- answer=- gap=0.0ms"


def test_the_log_line_has_every_stamp_in_milliseconds() -> None:
    told = as_log_record(spoken(), turn="t1", error=None)
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
    stamps = TurnTimings(accepted=0.0, cancelled=1.0, agent_closed=1.012)
    told = as_log_record(stamps)
    assert (told["total_ms"], told["stop_ms"]) == (1000.0, 12.0)
    assert TurnTimings(accepted=0.0, cancelled=1.0).stop_seconds is None
