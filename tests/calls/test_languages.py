"""Language tags as platforms and agents write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicegw.calls.languages import canonical_tag, choose_language, find_language


@pytest.mark.parametrize(
    ("tag", "canonical"),
    [
        ("de-DE", "de-DE"),
        ("DE-de", "de-DE"),
        ("en_us", "en-US"),
        (" zh-hant-tw ", "zh-Hant-TW"),
        ("es-419", "es-419"),
        ("yue", "yue"),
        ("multi", None),
        ("und", None),
        ("x-private", None),
        ("e", None),
        ("", None),
        ("de-" + 9 * "x", None),
    ],
)
def test_tag_gets_its_usual_spelling(tag: str, canonical: str | None) -> None:
    assert canonical_tag(tag) == canonical


@pytest.mark.parametrize(
    ("tag", "found"),
    [("es-ES", "es-ES"), ("es", "es-MX"), ("es-AR", "es-MX"), ("EN-us", "en-US"), ("fr", None)],
)
def test_language_is_found_by_its_tag_or_primary_language(tag: str, found: str | None) -> None:
    assert find_language(tag, ("en-US", "es-MX", "es-ES")) == found


@pytest.mark.parametrize(
    ("reported", "languages", "current", "chosen"),
    [
        ("es-ES", (), None, "es-ES"),
        ("multi", (), "es-ES", "es-ES"),
        (None, (), None, None),
        ("es", ("es-MX",), None, "es-MX"),
        ("es", ("es-MX", "es-ES"), "es-ES", "es-ES"),
        ("fr-FR", ("en-US",), "en-US", "en-US"),
        ("fr-FR", ("en-US",), None, None),
    ],
)
def test_tag_that_does_not_fit_keeps_the_language(
    reported: str | None, languages: tuple[str, ...], current: str | None, chosen: str | None
) -> None:
    assert choose_language(reported, languages, current) == chosen


@given(st.text(max_size=20))
def test_any_text_is_a_tag_or_none(text: str) -> None:
    tag = canonical_tag(text)
    assert tag is None or canonical_tag(tag) == tag
