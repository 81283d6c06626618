"""Text that streams is said once, whatever happens to the stream."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicegw.agents.openhands.streamed_text import PAUSE, StreamedText

TEXT = st.text("ab. \n", max_size=12)
ONE = "It is open. You can come at nine."


def streamed(*attempts: str) -> tuple[StreamedText, str]:
    """A stretch after these attempts, character by character, and what was said."""
    stretch = StreamedText()
    said = [
        stretch.delta(attempt, order, text)
        for attempt, whole in enumerate(attempts, 1)
        for order, text in enumerate(whole)
    ]
    return stretch, "".join(said)


def test_deltas_are_said_as_they_come_and_nothing_is_left() -> None:
    stretch = StreamedText()
    assert [stretch.delta(1, order, text) for order, text in enumerate(["It ", "is", " open. "])] == [
        "It ",
        "is",
        " open. ",
    ]
    assert stretch.rest("It is open. ") == ""
    assert stretch.rest("It is open.") == ""


def test_older_servers_do_not_number_deltas() -> None:
    stretch = StreamedText()
    assert [stretch.delta(1, None, text) for text in "ab"] == ["a", "b"]


def test_what_never_streamed_is_said_when_it_is_whole() -> None:
    assert StreamedText().rest(" \nAll of it.") == "All of it."
    assert StreamedText().rest(" ") == ""


@pytest.mark.parametrize(
    ("second", "said"),
    [
        ("It is open. You can come at nine. Or ten.", "It is open. You can come at nine. Or ten."),
        ("It is", ONE),
        ("It is open. You may come at ten.", f"{ONE}{PAUSE}You may come at ten."),
        ("It is open!", f"{ONE}{PAUSE}It is open!"),
        ("We are open.", f"{ONE}{PAUSE}We are open."),
    ],
)
def test_another_attempt_says_only_what_continues(second: str, said: str) -> None:
    stretch, heard = streamed(ONE, second)
    assert heard == said
    assert stretch.rest(second) == ""


def test_a_third_attempt_goes_on_from_the_first_if_the_second_did_not_come_that_far() -> None:
    assert streamed("a b c", "a", "a b c d")[1] == "a b c d"


def test_an_attempt_that_is_over_says_nothing() -> None:
    stretch = StreamedText()
    assert [stretch.delta(2, 0, "new"), stretch.delta(1, 0, "old")] == ["new", ""]


def test_after_a_gap_the_whole_text_brings_the_rest() -> None:
    stretch = StreamedText()
    assert [stretch.delta(1, order, text) for order, text in ((0, "It "), (2, "at "), (3, "nine."))] == [
        "It ",
        "",
        "",
    ]
    assert stretch.rest("It opens at nine.") == "opens at nine."


def test_a_gap_ends_with_its_attempt() -> None:
    stretch = StreamedText()
    assert [stretch.delta(1, 0, "a "), stretch.delta(1, 5, "x"), stretch.delta(2, 0, "a b")] == [
        "a ",
        "",
        "b",
    ]


def test_what_was_changed_after_it_was_said_is_not_said_again() -> None:
    stretch, _ = streamed("The key is 12345.")
    assert stretch.rest("The key is ***.") == ""


def test_what_was_changed_before_it_was_said_is() -> None:
    stretch = StreamedText()
    stretch.delta(1, 0, "It opens. The key")
    stretch.delta(1, 2, "x")
    assert stretch.rest("It opens. No key.") == f"{PAUSE}No key."


def test_an_attempt_that_broke_off_behind_the_first_is_completed() -> None:
    stretch, said = streamed("a b c", "a b")
    assert (said, stretch.rest("a b x")) == ("a b c", f"{PAUSE}a b x")


@given(TEXT, TEXT)
def test_after_two_attempts_the_end_of_the_second_was_said(one: str, two: str) -> None:
    stretch, said = streamed(one, two)
    heard = said + stretch.rest(two)
    if two.strip():
        assert heard.rstrip().endswith(two.rstrip()[-1]) or one.startswith(two)
    assert heard.startswith(one)


@given(st.text(max_size=20), st.lists(st.integers(0, 30), max_size=5))
def test_whatever_deltas_are_lost_the_text_is_said_once(text: str, lost: list[int]) -> None:
    stretch = StreamedText()
    said = "".join(stretch.delta(1, i, c) for i, c in enumerate(text) if i not in lost)
    assert (said + stretch.rest(text)).strip() == text.strip()
