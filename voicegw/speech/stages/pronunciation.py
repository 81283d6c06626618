"""The pronunciation list: words that are spoken differently from how they are written.

It works on speech, after the rules of the filter, and reads no marks.
"""

from __future__ import annotations

from collections.abc import Mapping

from voicegw.speech.characters import is_wide


class PronunciationList:
    """Replaces whole words in a stream of speech; of several matches the longest counts.

    A replacement is not searched again.

    Attributes:
        words: the replacement of each word. A word in lower case matches in any case, another one exactly.
        pending: the end of the speech so far, if it may become a match; as long as the longest word at most.
        previous_char: the character before `pending`; "" at the start.
    """

    def __init__(self, words: Mapping[str, str]) -> None:
        self.words = dict(words)
        self.pending = ""
        self.previous_char = ""
        self._prefixes = {key[:size].casefold() for key in words for size in range(1, len(key) + 1)}
        self._any_case = {key.casefold(): say for key, say in words.items() if key == key.lower()}
        self._max_word_chars = max(map(len, words), default=0)

    def feed(self, text: str) -> str:
        """Add a piece of speech; return all speech that is decided, with its replacements."""
        return self._replace(self.pending + text, final=False)

    def release(self) -> str:
        """Return `pending`, replaced if it is a match as it stands."""
        return self.flush()

    def flush(self) -> str:
        """End the speech: return `pending`, replaced if it is a match as it stands."""
        return self._replace(self.pending, final=True)

    def _replace(self, text: str, *, final: bool) -> str:
        pieces: list[str] = []
        at = start = 0
        while at < len(text):
            before = text[at - 1] if at else self.previous_char
            size = (
                self._match_length(text, at, final)
                if text[at].casefold() in self._prefixes and is_word_boundary(before, text[at])
                else 0
            )
            if size < 0:
                break
            if size:
                pieces += (text[start:at], self._replacement_of(text[at : at + size]))
                start = at + size
            at += size or 1
        pieces.append(text[start:at])
        self.previous_char = text[at - 1] if at else self.previous_char
        self.pending = text[at:]
        return "".join(pieces)

    def _match_length(self, text: str, at: int, final: bool) -> int:
        """Return the length of the word to replace here: 0 for none, -1 if more text has to decide."""
        best = 0
        for size in range(1, self._max_word_chars + 1):
            if at + size > len(text):
                return best if final else -1
            piece = text[at : at + size]
            if piece.casefold() not in self._prefixes:
                return best
            if piece in self.words or piece.casefold() in self._any_case:
                if at + size == len(text):
                    if not final:
                        return -1
                    best = size
                elif is_word_boundary(piece[-1], text[at + size]):
                    best = size
        return best

    def _replacement_of(self, word: str) -> str:
        return self.words[word] if word in self.words else self._any_case[word.casefold()]


def is_word_boundary(one: str, other: str) -> bool:
    """Whether a word may end between these two characters."""
    return not (one.isalnum() and other.isalnum()) or is_wide(one) or is_wide(other)
