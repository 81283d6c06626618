"""Makes the stages behind the rules of the filter: the pronunciation list, then the speller."""

from __future__ import annotations

from typing import Protocol

from voicegw.speech.options import SpeechOptions
from voicegw.speech.spelling.speller import Speller
from voicegw.speech.stages.pronunciation import PronunciationList


class SpeechStage(Protocol):
    """Replaces words in a stream of speech."""

    @property
    def pending(self) -> str:
        """The end of the speech so far, if it is undecided."""

    def feed(self, text: str) -> str:
        """Add a piece of speech; return all speech that is decided."""

    def release(self) -> str:
        """Return the undecided speech, because the agent pauses; more may follow."""

    def flush(self) -> str:
        """End the speech; return the rest of it."""


class StagePair:
    """Two stages, one behind the other."""

    def __init__(self, first: SpeechStage, second: SpeechStage) -> None:
        self.first, self.second = first, second

    @property
    def pending(self) -> str:
        """The undecided speech of both stages."""
        return self.second.pending + self.first.pending

    def feed(self, text: str) -> str:
        """Add a piece of speech; return all speech that is decided."""
        return self.second.feed(self.first.feed(text))

    def release(self) -> str:
        """Return the undecided speech of both stages, because the agent pauses."""
        return self.second.feed(self.first.release()) + self.second.release()

    def flush(self) -> str:
        """End the speech; return the rest of it."""
        return self.second.feed(self.first.flush()) + self.second.flush()


def make_stage(options: SpeechOptions) -> SpeechStage | None:
    """Return the stages that the options name; None for none."""
    words = PronunciationList(options.words) if options.words else None
    speller = Speller(options.spell, options.language, options.max_held_chars) if options.spell else None
    return StagePair(words, speller) if words and speller else words or speller
