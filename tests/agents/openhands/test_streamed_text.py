"""Text that streams with gaps and new attempts is spoken once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicegw.agents.openhands.streamed_text import PARAGRAPH_BREAK, StreamedText

TEXT = st.text("ab. \n", max_size=12)
ONE = "It is open. You can come at nine."


def streamed(*attempts: str) -> tuple[StreamedText, str]:
    """Feed these attempts, character by character. Return the text and what was spoken."""
    text_stream = StreamedText()
    spoken = [
        text_stream.feed(attempt, order, text)
        for attempt, whole in enumerate(attempts, 1)
        for order, text in enumerate(whole)
    ]
    return text_stream, "".join(spoken)


def test_deltas_are_spoken_as_they_come_and_no_rest_is_left() -> None:
    text_stream = StreamedText()
    assert [text_stream.feed(1, order, text) for order, text in enumerate(["It ", "is", " open. "])] == [
        "It ",
        "is",
        " open. ",
    ]
    assert text_stream.finish("It is open. ") == ""
    assert text_stream.finish("It is open.") == ""


def test_older_servers_do_not_number_deltas() -> None:
    text_stream = StreamedText()
    assert [text_stream.feed(1, None, text) for text in "ab"] == ["a", "b"]


def test_text_that_never_streamed_is_spoken_when_complete() -> None:
    assert StreamedText().finish(" \nAll of it.") == "All of it."
    assert StreamedText().finish(" ") == ""


@pytest.mark.parametrize(
    ("second", "spoken"),
    [
        ("It is open. You can come at nine. Or ten.", "It is open. You can come at nine. Or ten."),
        ("It is", ONE),
        ("It is open. You may come at ten.", f"{ONE}{PARAGRAPH_BREAK}You may come at ten."),
        ("It is open!", f"{ONE}{PARAGRAPH_BREAK}It is open!"),
        ("We are open.", f"{ONE}{PARAGRAPH_BREAK}We are open."),
    ],
)
def test_another_attempt_speaks_only_its_continuation(second: str, spoken: str) -> None:
    text_stream, spoken_text = streamed(ONE, second)
    assert spoken_text == spoken
    assert text_stream.finish(second) == ""


def test_a_third_attempt_continues_the_first_if_the_second_was_shorter() -> None:
    assert streamed("a b c", "a", "a b c d")[1] == "a b c d"


def test_deltas_of_an_earlier_attempt_are_not_spoken() -> None:
    text_stream = StreamedText()
    assert [text_stream.feed(2, 0, "new"), text_stream.feed(1, 0, "old")] == ["new", ""]


def test_after_a_gap_the_complete_text_brings_the_rest() -> None:
    text_stream = StreamedText()
    assert [text_stream.feed(1, order, text) for order, text in ((0, "It "), (2, "at "), (3, "nine."))] == [
        "It ",
        "",
        "",
    ]
    assert text_stream.finish("It opens at nine.") == "opens at nine."


def test_a_gap_ends_with_its_attempt() -> None:
    text_stream = StreamedText()
    assert [text_stream.feed(1, 0, "a "), text_stream.feed(1, 5, "x"), text_stream.feed(2, 0, "a b")] == [
        "a ",
        "",
        "b",
    ]


def test_text_changed_after_it_was_spoken_is_not_repeated() -> None:
    text_stream, _ = streamed("The key is 12345.")
    assert text_stream.finish("The key is ***.") == ""


def test_text_changed_before_it_was_spoken_is_spoken() -> None:
    text_stream = StreamedText()
    text_stream.feed(1, 0, "It opens. The key")
    text_stream.feed(1, 2, "x")
    assert text_stream.finish("It opens. No key.") == f"{PARAGRAPH_BREAK}No key."


def test_an_attempt_shorter_than_the_first_is_completed() -> None:
    text_stream, spoken = streamed("a b c", "a b")
    assert (spoken, text_stream.finish("a b x")) == ("a b c", f"{PARAGRAPH_BREAK}a b x")


@given(TEXT, TEXT)
def test_after_two_attempts_the_end_of_the_second_was_spoken(one: str, two: str) -> None:
    text_stream, spoken = streamed(one, two)
    spoken_text = spoken + text_stream.finish(two)
    if two.strip():
        assert spoken_text.rstrip().endswith(two.rstrip()[-1]) or one.startswith(two)
    assert spoken_text.startswith(one)


@given(st.text(max_size=20), st.lists(st.integers(0, 30), max_size=5))
def test_text_is_spoken_once_for_any_lost_deltas(text: str, lost: list[int]) -> None:
    text_stream = StreamedText()
    spoken = "".join(text_stream.feed(1, i, c) for i, c in enumerate(text) if i not in lost)
    assert (spoken + text_stream.finish(text)).strip() == text.strip()
