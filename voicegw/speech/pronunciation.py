"""Words that are to be spoken differently from how they are written: the pronunciation list."""

from __future__ import annotations

from collections.abc import Mapping

from voicegw.speech.characters import wide


class PronunciationList:
    """Replaces whole words in a stream of speech, the longest match first.

    A key in lower case matches in any case, another one exactly. What might yet become a match waits in
    `pending`, never longer than the longest key and a character.
    """

    def __init__(self, words: Mapping[str, str]) -> None:
        self.words = dict(words)
        self.pending = ""
        self.before = ""
        self._starts = {key[:size].casefold() for key in words for size in range(1, len(key) + 1)}
        self._loose = {key.casefold(): say for key, say in words.items() if key == key.lower()}
        self._longest = max(map(len, words), default=0)

    def feed(self, text: str) -> str:
        return self._replace(self.pending + text, final=False)

    def flush(self) -> str:
        """What waits, for nothing follows."""
        return self._replace(self.pending, final=True)

    def _replace(self, text: str, *, final: bool) -> str:
        said: list[str] = []
        at = begun = 0
        while at < len(text):
            before = text[at - 1] if at else self.before
            size = (
                self._match(text, at, final)
                if text[at].casefold() in self._starts and apart(before, text[at])
                else 0
            )
            if size < 0:
                break
            if size:
                said += (text[begun:at], self._say(text[at : at + size]))
                begun = at + size
            at += size or 1
        said.append(text[begun:at])
        self.before = text[at - 1] if at else self.before
        self.pending = text[at:]
        return "".join(said)

    def _match(self, text: str, at: int, final: bool) -> int:
        """The length of the word to be replaced here; 0 for none, -1 if that is undecided yet."""
        best = 0
        for size in range(1, self._longest + 1):
            if at + size > len(text):
                return best if final else -1
            piece = text[at : at + size]
            if piece.casefold() not in self._starts:
                return best
            if piece in self.words or piece.casefold() in self._loose:
                if at + size == len(text):
                    if not final:
                        return -1
                    best = size
                elif apart(piece[-1], text[at + size]):
                    best = size
        return best

    def _say(self, word: str) -> str:
        return self.words[word] if word in self.words else self._loose[word.casefold()]


def apart(one: str, other: str) -> bool:
    """May a word end between these two characters?"""
    return not (one.isalnum() and other.isalnum()) or wide(one) or wide(other)
