"""Feeds random markup to the speech filter for a given time, and checks the properties of every text.

    python -m tests.speech.fuzz --seed 1 --minutes 60

The pieces and options are those of the property tests, which try fewer examples. The first text that breaks a
property is printed and ends the run with exit status 1. A seed gives the same examples again.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Sequence
from typing import get_args

from tests.speech.test_properties import ALPHABETS, TOKENS, UNSPEAKABLE
from tests.speech.texts import FORMS, LINES, MARKS, REPLACED, SIGNS, WORDS, cut_text
from voicegw.speech.filter import SpeechFilter
from voicegw.speech.options import SpeechOptions, Spelling
from voicegw.speech.spelling.words import WORDS as SPELLED_LANGUAGES

PIECES: Sequence[Sequence[str]] = (
    MARKS + LINES + SIGNS + WORDS,
    MARKS + WORDS,
    TOKENS,
    FORMS,
    FORMS + MARKS,
    *ALPHABETS,
)
KINDS: Sequence[Spelling] = get_args(Spelling)


def draw_text(source: random.Random) -> str:
    """Return a text of one to forty pieces of one kind, or of random characters."""
    if source.random() < 0.05:
        return "".join(chr(source.randrange(0x3000)) for _ in range(source.randrange(1, 40)))
    return "".join(source.choices(source.choice(PIECES), k=source.randrange(1, 41)))


def draw_options(source: random.Random) -> SpeechOptions:
    names = frozenset(source.sample(["note", "b", "break"], source.randrange(3)))
    return SpeechOptions(
        max_held_chars=source.choice((8, 16, 32, 64, 64, 64)),
        tables=source.choice(("headers", "cells")),
        urls=source.choice(("domain", "drop")),
        code=source.choice(("", "Code.")),
        terminal=source.choice(("note", "words")),
        paths=source.choice(("name", "full")),
        starts_with_reasoning=source.random() < 0.05,
        keep_tags=names,
        silent_tags=frozenset(source.sample(["note", "b"], source.randrange(2))) - names,
        words=source.choice(({}, {}, REPLACED)),
        spell=frozenset(source.sample(KINDS, source.choice((0, 0, 3, 7)))),
        language=source.choice(sorted(SPELLED_LANGUAGES)),
    )


def speak(pieces: Sequence[str], options: SpeechOptions) -> str:
    """Return the speech of these deltas. Raises `AssertionError` if too much is held back."""
    speech_filter, spoken = SpeechFilter(options), []
    for piece in pieces:
        spoken.append(speech_filter.feed(piece))
        assert len(speech_filter.pending) <= options.max_held_chars, "holds back too much"
    spoken.append(speech_filter.flush())
    assert not speech_filter.pending, "holds text after the end"
    return "".join(spoken)


def check(text: str, options: SpeechOptions, source: random.Random) -> None:
    """Check the properties of one text. Raises `AssertionError`, or any error of the filter."""
    whole = speak([text], options)
    cuts = [source.randrange(len(text) + 1) for _ in range(source.randrange(1, 13))]
    for pieces in (list(text), cut_text(text, cuts)):
        assert speak(pieces, options) == whole, f"depends on the cuts {[len(piece) for piece in pieces]}"
    if not options.keep_tags:
        assert not UNSPEAKABLE.search(whole), "has characters that cannot be spoken"
        assert "  " not in whole, "has two blanks in a row"
        assert not whole.startswith(" "), "begins with a blank"


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seed", type=int, default=1, help="the seed of the examples")
    parser.add_argument("--minutes", type=float, default=60.0, help="minutes until the run ends")
    return parser.parse_args()


def main() -> int:
    args = parse_options()
    source, examples = random.Random(args.seed), 0
    until = time.monotonic() + args.minutes * 60
    while time.monotonic() < until:
        text, options = draw_text(source), draw_options(source)
        try:
            check(text, options, source)
        except Exception as error:
            reason = str(error) or type(error).__name__
            print(f"seed {args.seed}, example {examples}: {reason}", repr(text), options, sep="\n")
            return 1
        examples += 1
    print(f"seed {args.seed}: {examples} examples in {args.minutes:g} minutes, no property broken")
    return 0


if __name__ == "__main__":
    sys.exit(main())
