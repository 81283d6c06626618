"""How an agent's text is to be spoken: the settings of the speech machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

MAX_HELD_CHARS = 64
"""Most characters that are held back while they are undecided."""

MAX_HOLD_SECONDS = 0.25
"""Seconds of an agent's silence after which held characters are let go."""


@dataclass(frozen=True, slots=True)
class SpeechOptions:
    """How to speak what cannot be read out as it is written; `docs/speech.md` has the whole table.

    `hold` bounds what is held back, in characters. `tables` are read as "header: cell" or as joined
    cells, `urls` as their domain or not at all. `code` is the sentence that stands for a block of code, ""
    for none. `keep_tags` are names of tags that the platform understands (such as "break"); their tags pass
    untouched. `silent_tags` are further names whose content is never spoken. `words` are spoken differently:
    keys match whole words, in any case if they are written in lower case, otherwise exactly.
    `yes` and `no` stand for ✅ and ❌ in a table, `nothing` for an answer of which nothing can be said.
    """

    max_held_chars: int = MAX_HELD_CHARS
    tables: Literal["headers", "cells"] = "headers"
    urls: Literal["domain", "drop"] = "domain"
    code: str = "I'll leave out the code here."
    yes: str = "yes"
    no: str = "no"
    nothing: str = "Okay."
    keep_tags: frozenset[str] = frozenset()
    silent_tags: frozenset[str] = frozenset()
    words: Mapping[str, str] = field(default_factory=dict)
