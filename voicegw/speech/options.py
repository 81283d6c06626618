"""The settings of the speech filter. The `[speech]` table of the configuration is checked in `config`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

MAX_HELD_CHARS = 64
"""Default of `SpeechOptions.max_held_chars`."""

MAX_HOLD_SECONDS = 0.25
"""Default seconds of an agent's silence after which held words are released."""


Spelling: TypeAlias = Literal["numbers", "money", "dates", "times", "units", "phones", "ordinals"]
"""A kind of written forms that `SpeechOptions.spell` turns into words."""


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
    done: str = "done"
    """The word before a task whose box is checked; "" for none."""
    to: str = "to"
    """The word for an arrow between two things; "" for a pause."""
    up: str = "up"
    """The word for an arrow that points up."""
    down: str = "down"
    """The word for an arrow that points down."""
    more: str = "up"
    """The word for an arrow up beside a number."""
    less: str = "down"
    """The word for an arrow down beside a number."""
    stars: str = "{count} stars"
    """A rating by signs such as ★★★."""
    rating: str = "{count} of {total} stars"
    """A rating by signs such as ★★★☆☆."""
    terminal: Literal["note", "words"] = "note"
    """Say `output` in place of JSON, diffs, stack traces and log lines, or say their words."""
    output: str = "I'll leave out the technical output here."
    """The sentence that stands for the output of a program; "" for none."""
    paths: Literal["name", "full"] = "name"
    """Say the last name of a long file path, or the whole path."""
    starts_with_reasoning: bool = False
    """The text up to a lone `</think>` is reasoning, because the model's template has opened it."""
    keep_tags: frozenset[str] = frozenset()
    """Names of tags that the platform understands, such as "break": these tags are passed on."""
    silent_tags: frozenset[str] = frozenset()
    """Names of further tags whose content is never spoken."""
    spell: frozenset[Spelling] = frozenset()
    """Kinds of written forms that become words, see `spelling`; they need the extra `spell`."""
    language: str = "en"
    """The language of the words of `spell`, as a BCP 47 tag."""
    words: Mapping[str, str] = field(default_factory=dict)
    """Words that are spoken differently, see `stages.pronunciation.PronunciationList`."""
