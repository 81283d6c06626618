"""What the doctor makes of what was measured."""

from __future__ import annotations

import pytest

from voicegw.checkup import Answer, Checkup, advice, table

WORDS = "one two three four five"


def checkup(
    *deltas: float, over: float | None = None, stop: float | None = 0.01, text: str = WORDS, **more: object
) -> Checkup:
    answer = Answer(list(deltas), text=text, over=deltas[-1] + 0.01 if over is None else over)
    return Checkup(
        "desk", "openai", 0.001, None, 0.002, answer=answer, cut=Answer([0.1], stopped=stop), **more
    )  # type: ignore[arg-type]


STREAMED = (0.2, 0.25, 0.3, 0.35, 0.4)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (checkup(*STREAMED), []),
        (checkup(0.5, 0.7, 0.9, 1.1), ["keep ack.after at 0.5"]),
        (checkup(2.0, 3.0, 4.0, 5.0), ["wait long for its first word"]),
        (checkup(0.4, 0.4, 0.4, 0.4), ["whole, at the end"]),
        (checkup(0.4), ["whole, at the end"]),
        (checkup(0.4, text="One."), []),
        (checkup(0.001, 0.001, over=0.002), []),
        (checkup(2.5, 2.5, 2.5, 2.5, over=2.6), ["wait long", "whole, at the end"]),
        (checkup(*STREAMED, stop=0.3), ["slow to stop"]),
        (checkup(*STREAMED, stop=None), []),
        (Checkup("desk", "openai", failure="refused", step="connect"), []),
    ],
)
def test_advice_follows_from_what_was_seen(found: Checkup, words: list[str]) -> None:
    given = list(advice(found))
    assert len(given) == len(words)
    assert all(word in sentence for word, sentence in zip(words, given, strict=True))


def test_silent_work_is_worth_a_word() -> None:
    found = checkup(*STREAMED)
    assert found.answer is not None
    found.answer.work = [(0.5, "a tool")]
    assert list(advice(found)) == []
    found.answer.work = [(1.5, "a tool")]
    assert "ack.every" in next(advice(found))


def test_cadence_needs_some_pieces_and_is_the_usual_one() -> None:
    assert Answer([0.1, 0.2, 0.3]).cadence is None
    assert Answer([0.1, 0.2, 0.3, 1.3]).cadence == pytest.approx(0.1)


def test_the_table_has_a_row_for_each_and_what_to_do_below() -> None:
    ill = Checkup("shop", "hermes", 0.003, 0.02, failure="answered 401", step="ready")
    lines = table([checkup(*STREAMED, stop=0.3), ill]).splitlines()
    assert [line.split() for line in lines[:3]] == [
        ["agent", "kind", "connect", "TLS", "ready", "first", "token", "cadence", "stream", "stop"],
        ["desk", "openai", "1", "ms", "-", "2", "ms", "200", "ms", "50", "ms", "real", "300", "ms"],
        ["shop", "hermes", "3", "ms", "20", "ms", "-", "-", "-", "-", "-"],
    ]
    assert lines[3].startswith("desk: It is slow to stop")
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
    ill = Checkup("shop", "hermes", failure="answered 401", step="ready").as_json()
    assert (ill["well"], ill["failed_at"], ill["first_token_ms"]) == (False, "ready", None)
