"""What is wrong with a file, in words."""

from __future__ import annotations

import pytest

from voicegw.settings.problems import key_path, quoted, suggestion


@pytest.mark.parametrize(
    ("loc", "shown"),
    [(("a", "b", 0), "a.b[0]"), (("agents", "gpt-4.1", "url"), 'agents."gpt-4.1".url'), ((), "")],
)
def test_a_key_is_shown_as_it_is_written(loc: tuple[str | int, ...], shown: str) -> None:
    assert key_path(loc) == shown


def test_the_nearest_word_is_offered_or_all_that_are_known() -> None:
    assert suggestion("wiat", ["say", "wait"]) == '; did you mean "wait"?'
    assert suggestion("colour", ["say", "wait"]) == '; known are "say", "wait"'
    assert quoted(["a", "b"]) == '"a", "b"'
