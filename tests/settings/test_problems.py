"""Error messages about a configuration file: keys, quotes and suggestions."""

from __future__ import annotations

import pytest

from voicegw.settings.problems import format_key_path, quote_names, suggest


@pytest.mark.parametrize(
    ("location", "path"),
    [(("a", "b", 0), "a.b[0]"), (("agents", "gpt-4.1", "url"), 'agents."gpt-4.1".url'), ((), "")],
)
def test_key_path_is_written_as_in_toml(location: tuple[str | int, ...], path: str) -> None:
    assert format_key_path(location) == path


def test_suggestion_is_the_nearest_word_or_all_known_words() -> None:
    assert suggest("wiat", ["say", "wait"]) == '; did you mean "wait"?'
    assert suggest("colour", ["say", "wait"]) == '; known are "say", "wait"'
    assert quote_names(["a", "b"]) == '"a", "b"'
