"""Finds the language of the call that a tag means, which a platform reports or an agent names. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

TAG = re.compile(r"([A-Za-z]{2,3})((?:[-_][A-Za-z0-9]{1,8}){0,4})")
"""The shape of a BCP 47 tag with a primary language, which private tags (`x-`) and "multi" have not."""
NO_LANGUAGE = frozenset({"und", "mul", "mis", "zxx"})
"""Primary subtags that name no single language (ISO 639-2)."""


def canonical_tag(tag: str) -> str | None:
    """Return the tag in its usual spelling, such as "de-DE" or "zh-Hant-TW"; None if it names no language."""
    found = TAG.fullmatch(tag.strip())
    if found is None or found[1].lower() in NO_LANGUAGE:
        return None
    subtags = [_spell(subtag) for subtag in re.split("[-_]", found[2])[1:]]
    return "-".join((found[1].lower(), *subtags))


def find_language(tag: str, languages: Sequence[str]) -> str | None:
    """Return the language that a tag means: the same one, else the first of the same primary language."""
    tags = [language.lower() for language in languages]
    if tag.lower() in tags:
        return languages[tags.index(tag.lower())]
    primary = _primary(tag)
    return next((language for language in languages if _primary(language) == primary), None)


def choose_language(reported: str | None, languages: Sequence[str], current: str | None) -> str | None:
    """Return the caller's language after the platform reported a tag: `current` if it names none that fits.

    `languages` are those that the call has; with none, each language fits.
    """
    tag = None if reported is None else canonical_tag(reported)
    if tag is None:
        return current
    if current is not None and _primary(tag) == _primary(current) and "-" not in tag:
        return current
    return (find_language(tag, languages) or current) if languages else tag


def _primary(tag: str) -> str:
    return tag.split("-", 1)[0].lower()


def _spell(subtag: str) -> str:
    if len(subtag) == 2:
        return subtag.upper()
    return subtag.capitalize() if len(subtag) == 4 else subtag.lower()
