"""Joins what is spoken into prose: one blank between words, a comma for a pause, a stop for a rest."""

from __future__ import annotations

from voicegw.speech.characters import CLAUSES, CLOSERS, ENDS, TIGHT, comma, stop, wide

NONE, BLANK, SOFT, PAUSE, REST = range(5)
"""What stands between two pieces: nothing, a blank, a line break, a comma, the end of a sentence."""


TAIL = 16
"""Characters said last that are remembered: enough to know their script."""


class SentenceBuilder:
    """Pieces of speech and the gap that is due before the next one. What is ready is in `out`.

    `tail` are the last characters said, "" before the first. `lead` is said before the next piece,
    if there is one. `said` counts pieces. `due` tells that the open sentence gets its stop even when nothing
    more follows.
    """

    __slots__ = ("dropped", "due", "gap", "lead", "out", "said", "tail")

    def __init__(self) -> None:
        self.out: list[str] = []
        self.tail = ""
        self.gap = NONE
        self.lead = ""
        self.dropped = False
        self.due = False
        self.said = 0

    def say(self, text: str) -> None:
        """Say a piece: not empty, no white space at either end or in a row."""
        if self.gap or self.lead:
            self._join(text)
        self.out.append(text)
        self.tail = (self.tail + text)[-TAIL:]
        self.due = False
        self.said += 1

    def blank(self) -> None:
        """White space. It waits for its neighbour, except after punctuation."""
        self.dropped = False
        if self.gap == NONE and self.tail and self.tail[-1] != " ":
            if self.tail[-1] in CLAUSES and not self.lead:
                self._put(" ")
            else:
                self.gap = BLANK

    def line(self) -> None:
        """The end of a line within a paragraph."""
        self.gap = max(self.gap, SOFT)

    def pause(self) -> None:
        """A comma, unless punctuation is there."""
        self.gap = max(self.gap, PAUSE)

    def rest(self, *, due: bool = False) -> None:
        """The end of a sentence."""
        self.gap = REST
        self.lead = ""
        self.due = self.due or due

    def drop(self) -> None:
        """Something silent stood here; it takes the blank before it along if punctuation follows."""
        self.dropped = bool(self.gap)

    def settle(self) -> None:
        """Say the gap now, for nothing else comes for a while."""
        self._close()

    def end(self) -> None:
        """Say the stop that is due at the end of everything."""
        if self.due and self.tail and not ended(self.tail):
            self._put(stop(letter(self.tail)))
        self.gap, self.due, self.lead = NONE, False, ""

    def take(self) -> str:
        """What is ready to be spoken; it is gone from here then."""
        out = self.out
        if not out:
            return ""
        text = out[0] if len(out) == 1 else "".join(out)
        out.clear()
        return text

    def _put(self, text: str) -> None:
        self.out.append(text)
        self.tail = (self.tail + text)[-TAIL:]

    def _join(self, text: str) -> None:
        if self.gap == BLANK and self.dropped and text[0] in TIGHT:
            self.gap = NONE
        self._close()
        if self.lead:
            self._put(self.lead)
            self.lead = ""

    def _close(self) -> None:
        gap, self.gap, self.dropped, self.due = self.gap, NONE, False, False
        if gap == NONE or not self.tail:
            return
        if gap >= PAUSE and not ended(self.tail):
            self._put((stop if gap == REST else comma)(letter(self.tail)))
        if self.tail[-1] != " " and (gap < PAUSE or not wide(self.tail[-1])):
            self._put(" ")


def letter(tail: str) -> str:
    """The last letter: it tells the script. The last character if there is none."""
    return next((char for char in reversed(tail) if char.isalpha()), tail[-1:])


def last(tail: str) -> str:
    """The last character that is no closing quote or bracket."""
    return tail.rstrip(CLOSERS + " ")[-1:]


def ended(tail: str) -> bool:
    """Is there punctuation at the end, before closing quotes and brackets?"""
    return last(tail) in ENDS
