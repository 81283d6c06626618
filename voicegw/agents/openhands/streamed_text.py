"""Text that streams, may begin anew or have gaps, and comes again when it is whole: each word said once."""

from __future__ import annotations

import re

PAUSE = "\n\n"
SENTENCE = re.compile(r"[.!?]\s+|\n")


class StreamedText:
    """What was said of one event that streams.

    A model that fails half-way is asked again, and its text begins again as another attempt. As long as that
    says the same, nothing is said; what follows goes on from there. Where it says something else, it goes on
    after a pause with the sentence in which it does.

    After a gap nothing streams any more: the kept event brings the rest.
    """

    __slots__ = ("_attempt", "_before", "_order", "_said", "lossy")

    def __init__(self) -> None:
        self._attempt = 1
        self._before = ""
        self._order = -1
        self._said: list[str] = []
        self.lossy = False

    def delta(self, attempt: int, order: int | None, text: str) -> str:
        """What of this delta is to be said. Older servers know no `order`."""
        if attempt > self._attempt:
            self._attempt, self._order, self.lossy = attempt, -1, False
            self._before, self._said = self.text, []
        if order is not None:
            self.lossy = self.lossy or order != self._order + 1
            self._order = order
        if attempt < self._attempt or self.lossy:
            return ""
        self._said.append(text)
        return self._new("".join(self._said)) if self._before else text

    @property
    def text(self) -> str:
        """What was said, as far as what comes can go on from it."""
        return self._before or "".join(self._said)

    def rest(self, whole: str) -> str:
        """What is left to say, now that all of it is known."""
        said, text = self.text, whole.lstrip()
        if text.startswith(said.strip()):
            rest = text[len(said.strip()) :]
            rest = rest.lstrip() if said.rstrip() != said else rest
            return rest if rest.strip() else ""
        return self._new(whole) if self._before or self.lossy else ""

    def _new(self, text: str) -> str:
        before = self._before or self.text
        if before.startswith(text):
            return ""
        self._before = ""
        return text[len(before) :] if text.startswith(before) else PAUSE + text[_common(before, text) :]


def _common(one: str, other: str) -> int:
    """The end of the last sentence with which both begin; somewhere they differ."""
    same = next(place for place, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
    return max((found.end() for found in SENTENCE.finditer(one, 0, same)), default=0)
