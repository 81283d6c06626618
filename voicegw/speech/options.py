"""The settings of the speech filter. The `[speech]` table of the configuration is checked in `config`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

MAX_HELD_CHARS = 64
"""Default of `SpeechOptions.max_held_chars`."""

MAX_HOLD_SECONDS = 0.25
"""Default seconds of an agent's silence after which held words are released."""


@dataclass(frozen=True, slots=True)
class SpeechOptions:
    """How to speak text that cannot be read out as it is written; `docs/speech.md` has the whole table."""

    max_held_chars: int = MAX_HELD_CHARS
    """Characters that may be held back while they are undecided. At this bound a rule decides."""
    tables: Literal["headers", "cells"] = "headers"
    """Read the cells of a row as "header: cell", or as cells alone."""
    urls: Literal["domain", "drop"] = "domain"
    """Say the domain of a bare address, or leave it out."""
    code: str = "I'll leave out the code here."
    """The sentence that stands for a block of code; "" for none."""
    yes: str = "yes"
    """The word for ✅ alone in a cell of a table."""
    no: str = "no"
    """The word for ❌ alone in a cell of a table."""
    nothing: str = "Okay."
    """Said for an answer that holds text, but nothing that can be spoken, such as "👍"."""
    keep_tags: frozenset[str] = frozenset()
    """Names of tags that the platform understands, such as "break": these tags are passed on."""
    silent_tags: frozenset[str] = frozenset()
    """Names of further tags whose content is never spoken."""
    words: Mapping[str, str] = field(default_factory=dict)
    """Words that are spoken differently, see `pronunciation.PronunciationList`."""
