"""Text that streams is said once, whatever happens to the stream."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicegw.agents.openhands.streamed_text import PARAGRAPH_BREAK, StreamedText

TEXT = st.text("ab. \n", max_size=12)
ONE = "It is open. You can come at nine."


def streamed(*attempts: str) -> tuple[StreamedText, str]:
    """A stretch after these attempts, character by character, and what was said."""
    stretch = StreamedText()
    said = [
        stretch.feed(attempt, order, text)
        for attempt, whole in enumerate(attempts, 1)
        for order, text in enumerate(whole)
    ]
    return stretch, "".join(said)


def test_deltas_are_spoken_as_they_come_and_no_rest_is_left() -> None:
    stretch = StreamedText()
    assert [stretch.feed(1, order, text) for order, text in enumerate(["It ", "is", " open. "])] == [
        "It ",
        "is",
        " open. ",
    ]
    assert stretch.finish("It is open. ") == ""
    assert stretch.finish("It is open.") == ""


def test_older_servers_do_not_number_deltas() -> None:
    stretch = StreamedText()
    assert [stretch.feed(1, None, text) for text in "ab"] == ["a", "b"]


def test_text_that_never_streamed_is_spoken_when_complete() -> None:
    assert StreamedText().finish(" \nAll of it.") == "All of it."
    assert StreamedText().finish(" ") == ""


@pytest.mark.parametrize(
    ("second", "said"),
    [
        ("It is open. You can come at nine. Or ten.", "It is open. You can come at nine. Or ten."),
        ("It is", ONE),
        ("It is open. You may come at ten.", f"{ONE}{PARAGRAPH_BREAK}You may come at ten."),
        ("It is open!", f"{ONE}{PARAGRAPH_BREAK}It is open!"),
        ("We are open.", f"{ONE}{PARAGRAPH_BREAK}We are open."),
    ],
)
def test_another_attempt_speaks_only_its_continuation(second: str, said: str) -> None:
    stretch, heard = streamed(ONE, second)
    assert heard == said
    assert stretch.finish(second) == ""


def test_a_third_attempt_continues_the_first_if_the_second_was_shorter() -> None:
    assert streamed("a b c", "a", "a b c d")[1] == "a b c d"


def test_deltas_of_an_earlier_attempt_are_not_spoken() -> None:
    stretch = StreamedText()
    assert [stretch.feed(2, 0, "new"), stretch.feed(1, 0, "old")] == ["new", ""]


def test_after_a_gap_the_complete_text_brings_the_rest() -> None:
    stretch = StreamedText()
    assert [stretch.feed(1, order, text) for order, text in ((0, "It "), (2, "at "), (3, "nine."))] == [
        "It ",
        "",
        "",
    ]
    assert stretch.finish("It opens at nine.") == "opens at nine."


def test_a_gap_ends_with_its_attempt() -> None:
    stretch = StreamedText()
    assert [stretch.feed(1, 0, "a "), stretch.feed(1, 5, "x"), stretch.feed(2, 0, "a b")] == [
        "a ",
        "",
        "b",
    ]


def test_text_changed_after_it_was_spoken_is_not_repeated() -> None:
    stretch, _ = streamed("The key is 12345.")
    assert stretch.finish("The key is ***.") == ""


def test_text_changed_before_it_was_spoken_is_spoken() -> None:
    stretch = StreamedText()
    stretch.feed(1, 0, "It opens. The key")
    stretch.feed(1, 2, "x")
    assert stretch.finish("It opens. No key.") == f"{PARAGRAPH_BREAK}No key."


def test_an_attempt_shorter_than_the_first_is_completed() -> None:
    stretch, said = streamed("a b c", "a b")
    assert (said, stretch.finish("a b x")) == ("a b c", f"{PARAGRAPH_BREAK}a b x")


@given(TEXT, TEXT)
def test_after_two_attempts_the_end_of_the_second_was_spoken(one: str, two: str) -> None:
    stretch, said = streamed(one, two)
    heard = said + stretch.finish(two)
    if two.strip():
        assert heard.rstrip().endswith(two.rstrip()[-1]) or one.startswith(two)
    assert heard.startswith(one)


@given(st.text(max_size=20), st.lists(st.integers(0, 30), max_size=5))
def test_text_is_spoken_once_for_any_lost_deltas(text: str, lost: list[int]) -> None:
    stretch = StreamedText()
    said = "".join(stretch.feed(1, i, c) for i, c in enumerate(text) if i not in lost)
    assert (said + stretch.finish(text)).strip() == text.strip()
