"""The times of a turn, and their form in the log."""

from __future__ import annotations

from voicegw.turns.timings import TurnTimings, as_log_record, format_comment


def answered_turn() -> TurnTimings:
    timings = TurnTimings(accepted_at=10.0, first_chunk_at=10.0005)
    timings.first_ack_at = 10.0005
    timings.mark_audible(10.0005)
    timings.first_token_at = 10.3
    timings.mark_audible(10.3)
    timings.mark_audible(10.4)
    timings.close(10.45)
    return timings


def test_longest_gap_includes_silence_before_and_after_speech() -> None:
    assert round(answered_turn().longest_gap, 9) == 0.2995
    late = TurnTimings(accepted_at=0.0)
    late.mark_audible(0.5)
    late.close(2.0)
    assert late.longest_gap == 1.5
    silent = TurnTimings(accepted_at=0.0)
    silent.close(3.0)
    assert silent.longest_gap == 3.0


def test_comment_has_both_latencies() -> None:
    assert format_comment(answered_turn()) == "ack=0.5ms answer=300.0ms gap=299.5ms"
    assert format_comment(TurnTimings(accepted_at=1.0)) == "ack=- answer=- gap=0.0ms"


def test_log_record_has_every_time_in_milliseconds() -> None:
    record = as_log_record(answered_turn(), turn="t1", error=None)
    assert record == {
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


def test_cancelled_turn_has_its_length_and_the_time_to_stop() -> None:
    timings = TurnTimings(accepted_at=0.0, cancelled_at=1.0, agent_closed_at=1.012)
    record = as_log_record(timings)
    assert (record["total_ms"], record["stop_ms"]) == (1000.0, 12.0)
    assert TurnTimings(accepted_at=0.0, cancelled_at=1.0).stop_seconds is None
