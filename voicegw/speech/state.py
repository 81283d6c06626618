"""The state that all rules of the speech filter share, and the contract of a rule.

The filter (`filter.SpeechFilter`) reads a text from left to right and calls one rule at a time. A rule is a
function `rule(state, text, at, end, must_decide)`:

- `text` are the undecided characters, `at` is the index of the character to decide about.
- `end` bounds the window `text[at:end]`, which holds at most `SpeechOptions.max_held_chars` characters. A
  pattern that may need more than one character matches within the window only. A rule looks beyond `end`
  only where every character is decided by itself, as in a run of plain letters.
- `must_decide` is true when waiting cannot help: the text is over, or the window is full. The rule must then
  decide.

A rule says words through `state.output`, changes `state`, and returns the index after the last character
that it consumed. It returns `at` itself when it only changed `state.mode`: the rule of the new mode then
decides. It returns `WAIT` when the window is too short to decide, which `must_decide` forbids. The filter
then keeps the characters from `at` on and calls the rule again when more text has come.

A decision must not change when the rule sees more characters. The speech therefore does not depend on how
the text was cut into deltas. The patterns follow a convention: where `LINK` matches a whole link,
`LINK_PART` matches a window that ends within a possible link, and the rule returns `WAIT` unless
`must_decide` is true.

This module decides nothing about marks: that is in `blocks`, `inline` and `markup`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from voicegw.speech.options import SpeechOptions
from voicegw.speech.prose import SentenceBuilder

WAIT = -1
"""Returned by a rule that needs more characters to decide."""

QUOTE_LEVEL, NESTED_QUOTE_LEVEL = 1, 2
"""The line belongs to a quote; the line belongs to a quote within a list item."""

MAX_BRACKETS = 32
"""Open brackets that are remembered; beyond it the outermost is forgotten."""

MAX_HEADER_CHARS = 400
"""Characters of a table's first row that are kept while it may be the header; a longer row is spoken."""

Rule: TypeAlias = "Callable[[FilterState, str, int, int, bool], int]"
"""`rule(state, text, at, end, must_decide)`: see the docstring of this module."""


@dataclass(slots=True, eq=False)
class FilterState:
    """All state that the rules keep between two characters."""

    options: SpeechOptions
    """How to speak; they do not change within a text."""
    speech: SentenceBuilder = field(default_factory=SentenceBuilder)
    """The speech of the whole answer."""
    output: SentenceBuilder = field(init=False)
    """Where rules say words: `speech`, or a kept cell of a row that may be a table's header."""
    mode: str = "line_start"
    """The rule in charge, a key of `filter.RULES`."""
    return_mode: str = "line_start"
    """The mode to which `leave` returns."""
    previous_char: str = "\n"
    """The last character that a rule consumed; a line end before the first."""
    blanks: int = 0
    """White space characters in a row just before `at`; two before a line end make a hard line break."""
    has_visible: bool = False
    """The answer showed something without words, such as an emoji. If no words come, `nothing` is said."""

    # The line
    indent: int = 0
    """Columns of white space at the start of the line; a tab counts four."""
    after_empty_line: bool = True
    """The line above is empty, or there is none."""
    in_list: bool = False
    """The line may belong to a list."""
    has_marker: bool = False
    """The line has had a marker that begins a block, such as `-` or `#`."""
    starts_bold: bool = False
    """The line begins with bold text; if it is bold to its end, it is a heading."""
    line_chars: int = 0
    """Spoken characters of the line, without blanks."""
    after_short_line: bool = False
    """The line above is so short that it was broken on purpose."""
    in_item: bool = False
    """The open block is a list item or a footnote: it ends with a full stop."""
    in_heading: bool = False
    """The line is a heading."""
    quote_level: int = 0
    """0, `QUOTE_LEVEL` or `NESTED_QUOTE_LEVEL`, of this line."""
    previous_quote_level: int = 0
    """The same of the line above."""
    open_wrappers: list[int] = field(default_factory=list)
    """The lengths of the open fences that wrap prose, outermost first."""

    # Within a line
    open_marks: Counter[str] = field(default_factory=Counter)
    """How many marks of emphasis are open, by character."""
    open_brackets: list[str] = field(default_factory=list)
    """The kinds of the open brackets, outermost first: "link", "plain", "maybe"."""
    code_span_ticks: int = 0
    """The number of backticks that began the code span, and that end it."""

    # Text that is left out
    code_fence: str = ""
    """The fence that began the block of code; one of the same characters, at least as long, ends it."""
    end_mark: str = ""
    """The characters that end the comment, the formula or the reasoning."""
    mode_after_tag: str = "line_start"
    """The mode after a tag that is longer than the window."""
    silenced_tags: frozenset[str] = frozenset()
    """Names of the tags that nest in, and end, the silenced text."""
    string_part: int = 0
    """In JSON: 1 within a string, 2 behind a backslash in it, 0 outside."""
    end_tokens: frozenset[str] = frozenset()
    """Names of the models' tokens that end the silenced text."""
    depth: int = 0
    """Open tags of silenced text, or open parentheses of an address."""
    in_angle_brackets: bool = False
    """The address stands between `<` and `>`."""

    # Formulas
    open_groups: list[str] = field(default_factory=list)
    """The kinds of the open `{`, outermost first: "", "silent", "numerator", "denominator".

    A ")" behind the kind is said when the group ends."""
    next_group: str = ""
    """The kind of the next `{`."""

    # Tables
    table_part: str = ""
    """The part of the table: see `blocks.tables`."""
    in_row: bool = False
    """The line is a row of a table."""
    column: int = 0
    """The index of the cell in its row."""
    answer_mark: str = ""
    """The word for a tick in this cell; it is said if the cell holds nothing else."""
    pieces_before_cell: int = 0
    """`output.piece_count` when the cell began."""
    headers: list[str] = field(default_factory=list)
    """The header of each column."""
    kept_cells: list[SentenceBuilder] = field(default_factory=list)
    """The cells of a first row that may be the header; empty when no row is kept."""
    kept_chars_left: int = 0
    """Characters that may still be kept of this row."""

    def __post_init__(self) -> None:
        self.output = self.speech

    @property
    def may_continue_item(self) -> bool:
        """Whether this line may belong to an item above it."""
        return self.indent > 1 or self.quote_level == NESTED_QUOTE_LEVEL

    @property
    def has_kept_words(self) -> bool:
        """Whether words of a possible table header are kept back."""
        return any(cell.tail for cell in self.kept_cells)

    def enter(self, mode: str) -> None:
        """Change to a mode; `leave` returns to the present one."""
        self.return_mode = self.mode
        self.mode = mode
        self.blanks = 0

    def leave(self) -> None:
        """Return to the mode before `enter`."""
        self.mode = self.return_mode

    def begin_block(self) -> None:
        """End the open block, with its emphasis and brackets; a paragraph, item, heading or row begins."""
        self.output.end_sentence(full_stop_due=self.in_item)
        self.in_item = False
        self.open_marks.clear()
        self.open_brackets.clear()

    def say_plain(self, text: str, at: int, end: int) -> int:
        """Say the plain characters `text[at:end]`, with one blank at most at each side; return their end.

        They end before `end` where the kept row of a table is full.
        """
        if self.kept_cells:
            end = min(end, at + self.kept_chars_left)
            self.kept_chars_left -= end - at
        self.line_chars += end - at - text.count(" ", at, end)
        if text[at] == " ":
            self.output.add_blank()
            self.blanks = 1
            at += 1
        if at < end:
            if text[end - 1] == " ":
                self.output.say(text[at : end - 1])
                self.output.add_blank()
                self.blanks = 1
            else:
                self.output.say(text[at:end])
        if self.kept_cells and not self.kept_chars_left:
            self.say_kept_cells()
        return end

    def open_bracket(self, kind: str) -> None:
        """Remember the kind of an open bracket until its closing bracket comes."""
        self.open_brackets.append(kind)
        del self.open_brackets[:-MAX_BRACKETS]

    def say_kept_cells(self) -> None:
        """Say the kept row cell by cell: it is no header, or it is too long to be kept."""
        cells, self.kept_cells = self.kept_cells, []
        self.output = self.speech
        for cell in cells:
            if text := cell.take():
                self.output.say(text)
                self.output.add_pause()
        if not self.in_row:
            self.output.end_sentence(full_stop_due=True)
        elif cells and cells[-1].tail:
            self.output.gap = cells[-1].gap  # the text goes on in the last cell

    def finish(self) -> None:
        """End the text: say the kept cells and the full stop that is due."""
        if self.kept_cells:
            self.say_kept_cells()
        if self.in_item or self.in_heading or self.in_row:
            self.output.full_stop_due = True
        self.output.finish()
