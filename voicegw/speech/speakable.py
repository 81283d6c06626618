"""The machine: deltas in, speakable text out."""

from __future__ import annotations

from voicegw.speech import blocks, formula, inline, skips, tags
from voicegw.speech.marks import SPECIAL, SURROGATE, joined
from voicegw.speech.prose import BLANK, NONE, TAIL
from voicegw.speech.state import WAIT, Rule, State
from voicegw.speech.style import Style
from voicegw.speech.words import Words

MODES: dict[str, Rule] = {
    "line": blocks.line,
    "inline": inline.inline,
    "code": inline.code,
    "formula": formula.formula,
    "fence": skips.fence,
    "indented": skips.indented,
    "skip": skips.skip,
    "comment": skips.comment,
    "target": skips.target,
    "url": skips.url,
    "silent": tags.silent,
    "long": tags.long,
}


STYLE = Style()


class Speakable:
    """Makes one answer speakable while it streams.

    The concatenation of what `feed` and the final `flush` return is the same for every cut of the text into
    deltas. Any string is fine; nothing here raises. `pending` are the characters that are held back because
    they are undecided, at most `Style.hold`.
    """

    def __init__(self, style: Style = STYLE) -> None:
        self.style = style
        self.pending = ""
        self._half = ""
        self._state = State(style)
        self._prose = self._state.speech
        self._words = Words(style.words) if style.words else None
        self._plain = False

    @property
    def held(self) -> bool:
        """Is anything held back: undecided characters, the blank or the stop before the next word?"""
        waits = bool(self._prose.gap and self._prose.tail)
        return waits or bool(self.pending) or (self._words is not None and bool(self._words.pending))

    def feed(self, text: str) -> str:
        """What can be spoken now that `text` came."""
        if not self._plain or not text:
            return self._work(text)
        special = SPECIAL.search(text)
        if special is None:
            said = self._go_on(text)
        elif special.end() == len(text) > 1 and text[-1] == " ":
            said = self._go_on(text[:-1])
            if said:
                self._prose.blank()
                self._state.prev, self._state.spaces = " ", 1
                said += self._prose.take()
        else:
            said = ""
        if not said:
            return self._work(text)
        return said if self._words is None else self._words.feed(said)

    def _go_on(self, text: str) -> str:
        """Plain text in the middle of prose, without any of the machinery; "" if there is more to it."""
        prose = self._prose
        if text[0] == " ":
            if prose.gap or prose.tail[-1] == " ":
                return ""
        elif prose.gap:
            if prose.dropped:
                return ""
            prose.gap = NONE
            text = " " + text
        prose.tail = (prose.tail + text)[-TAIL:]
        self._state.prev = text[-1]
        return text

    def release(self) -> str:
        """What is held, decided now since nothing comes for a while; the text may go on."""
        self._decide(self.pending, final=True)
        if not self._state.cells:
            self._prose.settle()
        said = self._take()
        return said if self._words is None else said + self._words.flush()

    def flush(self) -> str:
        """The rest, for the text is over: with the stop of the item, heading or row that ends it."""
        self._half = ""
        self._decide(self.pending, final=True)
        self._state.end()
        said = self._take()
        return said if self._words is None else said + self._words.flush()

    def _work(self, text: str) -> str:
        text = self.pending + self._half + text
        self._half = ""
        if SURROGATE.search(text):
            if "\ud800" <= text[-1] <= "\udbff":
                self._half = text[-1]
            text = joined(text)
        self._decide(text)
        return self._take()

    def _decide(self, text: str, *, final: bool = False) -> None:
        state, hold, at, size = self._state, self.style.hold, 0, len(text)
        while at < size:
            end = min(size, at + hold)
            place = MODES[state.mode](state, text, at, end, final or end - at == hold)
            if place == WAIT:
                break
            if place > at:
                state.prev = text[place - 1]
                at = place
        self.pending = text[at:]
        self._plain = (
            at == size
            and state.mode == "inline"
            and state.prose is self._prose
            and self._prose.gap <= BLANK
            and not self._prose.lead
            and bool(self._prose.tail)
            and not self._half
        )

    def _take(self) -> str:
        said = self._prose.take()
        return said if self._words is None or not said else self._words.feed(said)
