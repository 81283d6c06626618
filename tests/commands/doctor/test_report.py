"""What the doctor makes of what was measured."""

from __future__ import annotations

import pytest

from voicegw.commands.doctor.report import AgentReport, ObservedReply, advice, table

WORDS = "one two three four five"


def checkup(
    *deltas: float, over: float | None = None, stop: float | None = 0.01, text: str = WORDS, **more: object
) -> AgentReport:
    answer = ObservedReply(list(deltas), text=text, over=deltas[-1] + 0.01 if over is None else over)
    return AgentReport(
        "desk", "openai", 0.001, None, 0.002, answer=answer, cut=ObservedReply([0.1], stopped=stop), **more
    )  # type: ignore[arg-type]


STREAMED = (0.2, 0.25, 0.3, 0.35, 0.4)


SILENT = ObservedReply([5.0, 5.1, 5.2, 5.3], [(0.5, "a tool")], text=WORDS, over=6.0)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (checkup(*STREAMED), []),
        (checkup(0.5, 0.7, 0.9, 1.1), []),
        (checkup(0.5, 0.7, 0.9, 1.1, ack=0.7), ["takes 0.5 s: let ours go before (ack.after = 0.5)."]),
        (checkup(0.5, 0.7, 0.9, 1.1, ack=None), ["takes 0.5 s: let ours go before (ack.after = 0.5)."]),
        (checkup(2.0, 3.0, 4.0, 5.0), ["takes 2.0 s: let ours go at once (ack.after = 0)."]),
        (checkup(2.0, 3.0, 4.0, 5.0, ack=0.0), []),
        (
            checkup(0.4, 0.4, 0.4, 0.4),
            ["came whole after 0.4 s, not word by word: make it stream if it can."],
        ),
        (checkup(0.4), ["came whole"]),
        (checkup(0.4, text="One."), []),
        (checkup(0.001, 0.001, over=0.002), []),
        (checkup(2.5, 2.5, 2.5, 2.5, over=2.6), ["can. Until then, let ours go at once (ack.after = 0)."]),
        (checkup(2.5, 2.5, 2.5, 2.5, over=2.6, ack=0.0), ["make it stream if it can."]),
        (checkup(*STREAMED, stop=0.3), ["took 0.3 s to stop"]),
        (checkup(*STREAMED, stop=None), []),
        (AgentReport("desk", "openai", failure="refused", step="connect"), []),
        (AgentReport("desk", "openai", failure="refused", step="connect", remedy="Start it."), ["Start it."]),
        (
            AgentReport("desk", "openai", answer=SILENT, ack=0.0),
            ["worked for 5.0 s without a word: a lower ack.every"],
        ),
        (
            AgentReport("desk", "openai", answer=SILENT, ack=0.0, every=None),
            ["worked for 5.0 s without a word"],
        ),
        (AgentReport("desk", "openai", answer=SILENT, ack=0.0, every=4.0), []),
    ],
)
def test_advice_follows_from_what_was_seen_and_is_not_taken_yet(found: AgentReport, words: list[str]) -> None:
    given = list(advice(found))
    assert len(given) == len(words)
    assert all(word in sentence for word, sentence in zip(words, given, strict=True)), given


@pytest.mark.parametrize(
    ("work", "silence"),
    [([], 0.0), ([0.1], 0.5), ([0.6], 1.5), ([0.1, 1.9], 1.5), ([2.0], 0.25), ([2.25], 0.0)],
)
def test_silence_counts_where_it_worked(work: list[float], silence: float) -> None:
    assert ObservedReply([0.5, 2.0, 2.25], [(at, "a tool") for at in work]).silence == silence


@pytest.mark.parametrize(
    ("deltas", "over", "replayed"),
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
def test_a_replay_comes_at_the_end_and_all_at_once(
    deltas: tuple[float, ...], over: float | None, replayed: bool
) -> None:
    assert ObservedReply([*deltas], text=WORDS, over=over).replayed is replayed


def test_cadence_needs_some_pieces_and_is_the_usual_one() -> None:
    assert ObservedReply([0.1, 0.2, 0.3]).cadence is None
    assert ObservedReply([0.1, 0.2, 0.3, 1.3]).cadence == pytest.approx(0.1)


def test_the_table_has_a_row_for_each_and_what_to_do_below() -> None:
    ill = AgentReport("shop", "hermes", 0.003, 0.02, failure="answered 401", step="ready")
    lines = table([checkup(*STREAMED, stop=0.3), ill]).splitlines()
    assert [line.split() for line in lines[:3]] == [
        ["agent", "kind", "connect", "TLS", "ready", "open", "first", "token", "cadence", "stream", "stop"],
        ["desk", "openai", "1", "ms", "-", "2", "ms", "-", "200", "ms", "50", "ms", "real", "300", "ms"],
        ["shop", "hermes", "3", "ms", "20", "ms", "-", "-", "-", "-", "-", "-"],
    ]
    assert lines[3].startswith("desk: It took 0.3 s to stop")
    assert lines[4] == "shop: failed at ready: answered 401"


def test_json_has_all_of_it() -> None:
    found = checkup(0.4, 0.4, 0.4, 0.4, over=0.41, models=("a", "b")).as_json()
    assert {name: found[name] for name in ("well", "replayed", "deltas", "models", "tls_ms", "stop_ms")} == {
        "well": True,
        "replayed": True,
        "deltas": 4,
        "models": ["a", "b"],
        "tls_ms": None,
        "stop_ms": 10.0,
    }
    assert len(found["advice"]) == 1
    ill = AgentReport("shop", "hermes", failure="answered 401", step="ready").as_json()
    assert (ill["well"], ill["failed_at"], ill["first_token_ms"]) == (False, "ready", None)
