"""The report about an agent: advice, measures of an answer, the table and the JSON object."""

from __future__ import annotations

import pytest

from voicegw.commands.doctor.report import AgentReport, ObservedReply, format_table, give_advice

TEXT = "one two three four five"


def make_report(
    *deltas: float, total: float | None = None, stop: float | None = 0.01, text: str = TEXT, **more: object
) -> AgentReport:
    """Build the report of an agent whose pieces came at these times, in seconds after the question."""
    total_seconds = deltas[-1] + 0.01 if total is None else total
    answer = ObservedReply(list(deltas), text=text, total_seconds=total_seconds)
    return AgentReport(
        "desk",
        "openai",
        0.001,
        None,
        0.002,
        answer=answer,
        interrupted_answer=ObservedReply([0.1], stop_seconds=stop),
        **more,  # type: ignore[arg-type]
    )


STREAMED = (0.2, 0.25, 0.3, 0.35, 0.4)


SILENT_ANSWER = ObservedReply([5.0, 5.1, 5.2, 5.3], [(0.5, "a tool")], text=TEXT, total_seconds=6.0)


@pytest.mark.parametrize(
    ("report", "parts"),
    [
        (make_report(*STREAMED), []),
        (make_report(0.5, 0.7, 0.9, 1.1), []),
        (
            make_report(0.5, 0.7, 0.9, 1.1, ack_after=0.7),
            ["takes 0.5 s: set ack.after = 0.5 to acknowledge the caller before that."],
        ),
        (
            make_report(0.5, 0.7, 0.9, 1.1, ack_after=None),
            ["takes 0.5 s: set ack.after = 0.5 to acknowledge the caller before that."],
        ),
        (
            make_report(2.0, 3.0, 4.0, 5.0),
            ["takes 2.0 s: set ack.after = 0 to acknowledge the caller at once."],
        ),
        (make_report(2.0, 3.0, 4.0, 5.0, ack_after=0.0), []),
        (
            make_report(0.4, 0.4, 0.4, 0.4),
            ["Its whole answer came at once after 0.4 s: configure it to stream if it can."],
        ),
        (make_report(0.4), ["whole answer came at once"]),
        (make_report(0.4, text="One."), []),
        (make_report(0.001, 0.001, total=0.002), []),
        (
            make_report(2.5, 2.5, 2.5, 2.5, total=2.6),
            ["can. Until then, set ack.after = 0 to acknowledge the caller at once."],
        ),
        (make_report(2.5, 2.5, 2.5, 2.5, total=2.6, ack_after=0.0), ["configure it to stream if it can."]),
        (make_report(*STREAMED, stop=0.3), ["took 0.3 s to stop"]),
        (make_report(*STREAMED, stop=None), []),
        (AgentReport("desk", "openai", failure="refused", failed_step="connect"), []),
        (
            AgentReport("desk", "openai", failure="refused", failed_step="connect", hint="Start it."),
            ["Start it."],
        ),
        (
            AgentReport("desk", "openai", answer=SILENT_ANSWER, ack_after=0.0),
            ["worked for 5.0 s without a word: set a lower ack.every"],
        ),
        (
            AgentReport("desk", "openai", answer=SILENT_ANSWER, ack_after=0.0, ack_every=None),
            ["worked for 5.0 s without a word"],
        ),
        (AgentReport("desk", "openai", answer=SILENT_ANSWER, ack_after=0.0, ack_every=4.0), []),
    ],
)
def test_advice_names_only_changes_that_are_not_made_yet(report: AgentReport, parts: list[str]) -> None:
    advice = list(give_advice(report))
    assert len(advice) == len(parts)
    assert all(word in sentence for word, sentence in zip(parts, advice, strict=True)), advice


@pytest.mark.parametrize(
    ("activity_times", "silence"),
    [([], 0.0), ([0.1], 0.5), ([0.6], 1.5), ([0.1, 1.9], 1.5), ([2.0], 0.25), ([2.25], 0.0)],
)
def test_longest_silence_counts_gaps_with_work(activity_times: list[float], silence: float) -> None:
    assert (
        ObservedReply([0.5, 2.0, 2.25], [(at, "a tool") for at in activity_times]).longest_silence == silence
    )


@pytest.mark.parametrize(
    ("deltas", "total", "replayed"),
    [
        ((2.0, 2.0, 2.0, 2.0), 2.0, True),
        ((2.0, 2.001, 2.002, 2.003), 2.1, True),
        ((2.0, 2.02, 2.04, 2.06), 2.1, False),
        ((0.01, 0.01, 0.01, 2.0), 2.0, False),
        ((2.0, 2.1), 2.1, True),
        ((2.0, 2.5), 2.6, False),
        ((2.0,), None, False),
    ],
)
def test_an_answer_is_replayed_if_it_comes_at_its_end_and_at_once(
    deltas: tuple[float, ...], total: float | None, replayed: bool
) -> None:
    assert ObservedReply([*deltas], text=TEXT, total_seconds=total).is_replayed is replayed


def test_cadence_is_the_median_and_needs_four_pieces() -> None:
    assert ObservedReply([0.1, 0.2, 0.3]).cadence is None
    assert ObservedReply([0.1, 0.2, 0.3, 1.3]).cadence == pytest.approx(0.1)


def test_the_table_has_a_row_for_each_agent_and_notes_below() -> None:
    failed = AgentReport("shop", "hermes", 0.003, 0.02, failure="answered 401", failed_step="ready")
    lines = format_table([make_report(*STREAMED, stop=0.3), failed]).splitlines()
    assert [line.split() for line in lines[:3]] == [
        ["agent", "kind", "connect", "TLS", "ready", "open", "first", "token", "cadence", "stream", "stop"],
        ["desk", "openai", "1", "ms", "-", "2", "ms", "-", "200", "ms", "50", "ms", "real", "300", "ms"],
        ["shop", "hermes", "3", "ms", "20", "ms", "-", "-", "-", "-", "-", "-"],
    ]
    assert lines[3].startswith("desk: It took 0.3 s to stop")
    assert lines[4] == "shop: failed at ready: answered 401"


def test_json_has_every_measure() -> None:
    report = make_report(0.4, 0.4, 0.4, 0.4, total=0.41, models=("a", "b")).as_json()
    assert {name: report[name] for name in ("well", "replayed", "deltas", "models", "tls_ms", "stop_ms")} == {
        "well": True,
        "replayed": True,
        "deltas": 4,
        "models": ["a", "b"],
        "tls_ms": None,
        "stop_ms": 10.0,
    }
    assert len(report["advice"]) == 1
    failed = AgentReport("shop", "hermes", failure="answered 401", failed_step="ready").as_json()
    assert (failed["well"], failed["failed_at"], failed["first_token_ms"]) == (False, "ready", None)
