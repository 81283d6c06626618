"""Text that streams with gaps and restarts and then comes again complete: each word is spoken once.

It handles one event of OpenHands' session socket and knows no frames.
"""

from __future__ import annotations

import re

from voicegw.wire.json import join_surrogates

PARAGRAPH_BREAK = "\n\n"
SENTENCE_END = re.compile(r"[.!?]\s+|\n")


class StreamedText:
    """The text of one event, and how much of it was spoken.

    OpenHands asks a model again that fails half-way; the text then starts anew as another attempt. While the
    attempt repeats the spoken text, nothing is spoken; then it continues. Where it differs, it continues
    after a paragraph break, with the first sentence that differs.

    After a gap no delta is spoken any more: the complete event brings the rest.
    """

    __slots__ = ("_attempt", "_earlier_text", "_order", "_parts", "has_gap")

    def __init__(self) -> None:
        self._attempt = 1
        self._earlier_text = ""  # spoken in earlier attempts, as long as this attempt repeats it
        self._order = -1  # the number of the last delta
        self._parts: list[str] = []  # the deltas of this attempt
        # Whether deltas of this attempt were lost.
        self.has_gap = False

    def feed(self, attempt: int, order: int | None, text: str) -> str:
        """Return the part of a delta that is not spoken yet.

        `attempt` counts from 1, `order` from 0 in each attempt; older servers send no order.
        """
        if attempt > self._attempt:
            self._attempt, self._order, self.has_gap = attempt, -1, False
            self._earlier_text, self._parts = self.text, []
        if order is not None:
            self.has_gap = self.has_gap or order != self._order + 1
            self._order = order
        if attempt < self._attempt or self.has_gap:
            return ""
        self._parts.append(text)
        return self._continuation(join_surrogates("".join(self._parts))) if self._earlier_text else text

    @property
    def text(self) -> str:
        """The spoken text that later text has to continue."""
        return self._earlier_text or join_surrogates("".join(self._parts))

    def finish(self, complete_text: str) -> str:
        """Return the part of the complete text that is not spoken yet."""
        spoken, text = self.text, complete_text.lstrip()
        if text.startswith(spoken.strip()):
            rest = text[len(spoken.strip()) :]
            rest = rest.lstrip() if spoken.rstrip() != spoken else rest
            return rest if rest.strip() else ""
        return self._continuation(complete_text) if self._earlier_text or self.has_gap else ""

    def _continuation(self, text: str) -> str:
        before = self._earlier_text or self.text
        if before.startswith(text):
            return ""
        self._earlier_text = ""
        if text.startswith(before):
            return text[len(before) :]
        return PARAGRAPH_BREAK + text[_common_sentences_end(before, text) :]


def _common_sentences_end(one: str, other: str) -> int:
    """Return where the last sentence ends with which both texts begin; the texts must differ somewhere."""
    difference = next(index for index, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
    return max((found.end() for found in SENTENCE_END.finditer(one, 0, difference)), default=0)
