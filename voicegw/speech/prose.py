"""Joins pieces of speech into prose: one blank between words, commas for pauses, full stops after sentences.

It reads no marks; the rules of the filter call it.
"""

from __future__ import annotations

from voicegw.speech.characters import (
    CLOSERS,
    ENDS_CLAUSE,
    NEEDS_NO_FULL_STOP,
    NO_BLANK_BEFORE,
    comma_for,
    full_stop_for,
    is_wide,
)

NO_GAP, BLANK, LINE_BREAK, PAUSE, SENTENCE_END = range(5)
"""The gap between two pieces of speech; of several gaps in a row the greatest counts."""

BLANK_OR_OPENER = " ([{\"'«“„‘¿¡/-"
"""After one of these, silent text leaves no blank."""

MAX_TAIL = 16
"""Last characters of the speech that are remembered: enough to know their script."""


class SentenceBuilder:
    """Collects pieces of speech, and says the gap between two of them when the second comes.

    Attributes:
        ready: pieces that can be spoken; `take` empties it.
        tail: the last `MAX_TAIL` characters said; "" before the first.
        gap: the gap that is due before the next piece, `NO_GAP` to `SENTENCE_END`.
        prefix: text to say before the next piece, such as a column's header; "" if there is none.
        has_omission: silent text stood after the gap; the blank is dropped if punctuation follows.
        full_stop_due: the open sentence gets a full stop even if no piece follows.
        piece_count: the number of pieces said.
    """

    __slots__ = ("full_stop_due", "gap", "has_omission", "piece_count", "prefix", "ready", "tail")

    def __init__(self) -> None:
        self.ready: list[str] = []
        self.tail = ""
        self.gap = NO_GAP
        self.prefix = ""
        self.has_omission = False
        self.full_stop_due = False
        self.piece_count = 0

    def say(self, text: str) -> None:
        """Say a piece. It must not be empty, begin or end with white space, or hold two blanks in a row."""
        if self.gap or self.prefix:
            self._say_gap_before(text)
        self.ready.append(text)
        self.tail = (self.tail + text)[-MAX_TAIL:]
        self.full_stop_due = False
        self.piece_count += 1

    def add_blank(self) -> None:
        """Add white space. It waits for the next piece, but after punctuation it is said at once."""
        self.has_omission = False
        if self.gap == NO_GAP and self.tail and self.tail[-1] != " ":
            if self.tail[-1] in ENDS_CLAUSE and not self.prefix:
                self._append(" ")
            else:
                self.gap = BLANK

    def add_line_break(self) -> None:
        """Add the end of a line within a paragraph."""
        self.gap = max(self.gap, LINE_BREAK)

    def add_pause(self) -> None:
        """Add a comma; none is said after punctuation."""
        self.gap = max(self.gap, PAUSE)

    def end_sentence(self, *, full_stop_due: bool = False) -> None:
        """End the sentence; with `full_stop_due`, its full stop is said even if the text ends here."""
        self.gap = SENTENCE_END
        self.prefix = ""
        self.full_stop_due = self.full_stop_due or full_stop_due

    def omit(self, *, apart: bool = False) -> None:
        """Note that silent text stood here: the blank before it is dropped if punctuation follows.

        With `apart`, the words on both sides of the silent text do not grow together.
        """
        if apart and self.gap == NO_GAP and self.tail and self.tail[-1] not in BLANK_OR_OPENER:
            self.gap = BLANK
        self.has_omission = bool(self.gap)

    def say_gap(self) -> None:
        """Say the gap that is due, without waiting for the next piece."""
        gap, self.gap, self.has_omission, self.full_stop_due = self.gap, NO_GAP, False, False
        if gap == NO_GAP or not self.tail:
            return
        if gap >= PAUSE and not ends_with_punctuation(self.tail):
            self._append((full_stop_for if gap == SENTENCE_END else comma_for)(last_letter(self.tail)))
        if self.tail[-1] != " " and (gap < PAUSE or not is_wide(self.tail[-1])):
            self._append(" ")

    def finish(self) -> None:
        """End the text: say the full stop if one is due."""
        if self.full_stop_due and self.tail and not ends_with_punctuation(self.tail):
            self._append(full_stop_for(last_letter(self.tail)))
        self.gap, self.full_stop_due, self.prefix = NO_GAP, False, ""

    def take(self) -> str:
        """Return the speech that is ready, and forget it."""
        ready = self.ready
        if not ready:
            return ""
        text = ready[0] if len(ready) == 1 else "".join(ready)
        ready.clear()
        return text

    def _append(self, text: str) -> None:
        self.ready.append(text)
        self.tail = (self.tail + text)[-MAX_TAIL:]

    def _say_gap_before(self, text: str) -> None:
        if self.gap == BLANK and self.has_omission and text[0] in NO_BLANK_BEFORE:
            self.gap = NO_GAP
        elif self.gap == PAUSE and text[0] in ENDS_CLAUSE:
            self.gap = NO_GAP  # the punctuation is the pause
        self.say_gap()
        if self.prefix:
            self._append(self.prefix)
            self.prefix = ""


def last_letter(tail: str) -> str:
    """Return the last letter, else the last character, else "". The letter shows the script of the text."""
    return next((char for char in reversed(tail) if char.isalpha()), tail[-1:])


def last_char(tail: str) -> str:
    """Return the last character before blanks, closing quotes and brackets; "" if there is none."""
    return tail.rstrip(CLOSERS + " ")[-1:]


def ends_with_punctuation(tail: str) -> bool:
    """Whether the text ends with punctuation, apart from closing quotes and brackets."""
    return last_char(tail) in NEEDS_NO_FULL_STOP
