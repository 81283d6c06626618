"""What the speech machine knows between two characters, and what a rule may do with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from voicegw.speech.options import SpeechOptions
from voicegw.speech.prose import SentenceBuilder

WAIT = -1
"""A rule's answer when what it sees is not enough to decide."""

QUOTED, NESTED = 1, 2
"""A line of a quote, a line of a quote within an item."""

MOST_BRACKETS = 32
MOST_HEADER = 400
"""Characters of a table's header that are kept to be said with the cells; longer ones are spoken at once."""

Rule: TypeAlias = "Callable[[FilterState, str, int, int, bool], int]"
"""`rule(state, text, at, end, sure)` decides what becomes of `text[at]`, looking no further than `end`.

It gives the place up to which the text is dealt with; or `WAIT`, but not if it is `sure`: then nothing more
comes, or the bound is reached. What it decides must stay the same when it sees more: so no cut changes what
is spoken. Places where it looks further are those where every character decides for itself."""


@dataclass(slots=True, eq=False)
class FilterState:
    """Everything the rules share. `mode` names the rule that is in charge, `back` the one after it."""

    options: SpeechOptions
    speech: SentenceBuilder = field(default_factory=SentenceBuilder)
    prose: SentenceBuilder = field(init=False)
    """Where it is said: aloud, or into the cell of what may be a table's header."""
    mode: str = "line"
    back: str = "line"
    prev: str = "\n"
    spaces: int = 0
    shown: bool = False
    """Was there something to see that cannot be said?"""

    # the line
    indent: int = 0
    blank: bool = True
    listed: bool = False
    marked: bool = False
    bold: bool = False
    width: int = 0
    short: bool = False
    item: bool = False
    heading: bool = False
    quoted: int = 0
    was_quoted: int = 0
    wrappers: list[int] = field(default_factory=list)

    # inline
    opened: Counter[str] = field(default_factory=Counter)
    brackets: list[str] = field(default_factory=list)
    ticks: int = 0

    # what is skipped
    fence: str = ""
    closer: str = ""
    closer_after: str = "line"
    family: frozenset[str] = frozenset()
    depth: int = 0
    angle: bool = False

    # formulas
    groups: list[str] = field(default_factory=list)
    group: str = ""

    # tables
    table: str = ""
    row: bool = False
    column: int = 0
    mark: str = ""
    begun: int = 0
    headers: list[str] = field(default_factory=list)
    cells: list[SentenceBuilder] = field(default_factory=list)
    room: int = 0

    def __post_init__(self) -> None:
        self.prose = self.speech

    @property
    def indented(self) -> bool:
        """May this line belong to an item above it?"""
        return self.indent > 1 or self.quoted == NESTED

    @property
    def keeps_words(self) -> bool:
        """Is there a table's header whose words nobody has heard yet?"""
        return any(cell.tail for cell in self.cells)

    def enter(self, mode: str) -> None:
        """Hand over to another rule, which comes back when it is done."""
        self.back = self.mode
        self.mode = mode
        self.spaces = 0

    def leave(self) -> None:
        self.mode = self.back

    def begin_block(self) -> None:
        """A new paragraph, item, heading or row: the one before is over, with its emphasis."""
        self.prose.rest(due=self.item)
        self.item = False
        self.opened.clear()
        self.brackets.clear()

    def run(self, text: str, at: int, end: int) -> int:
        """Say a run of plain characters; gives where it ended."""
        if self.cells:
            end = min(end, at + self.room)
            self.room -= end - at
        self.width += end - at - text.count(" ", at, end)
        if text[at] == " ":
            self.prose.blank()
            self.spaces = 1
            at += 1
        if at < end:
            if text[end - 1] == " ":
                self.prose.say(text[at : end - 1])
                self.prose.blank()
                self.spaces = 1
            else:
                self.prose.say(text[at:end])
        if self.cells and not self.room:
            self.speak_cells()
        return end

    def open_bracket(self, kind: str) -> None:
        """Remember what a bracket was taken for, until its partner comes."""
        self.brackets.append(kind)
        del self.brackets[:-MOST_BRACKETS]

    def speak_cells(self) -> None:
        """The kept header is no header after all, or too long: say it, cell by cell."""
        cells, self.cells = self.cells, []
        self.prose = self.speech
        for cell in cells:
            if text := cell.take():
                self.prose.say(text)
                self.prose.pause()
        if not self.row:
            self.prose.rest(due=True)
        elif cells and cells[-1].tail:
            self.prose.gap = cells[-1].gap  # we are still in this cell

    def end(self) -> None:
        """The text is over: what is open ends here."""
        if self.cells:
            self.speak_cells()
        if self.item or self.heading or self.row:
            self.prose.due = True
        self.prose.end()
