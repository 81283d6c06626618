"""Dialects: how the clients of one platform expect the gateway's phrases and the agent's text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

TRIMMED_ENDINGS = " \t\r\n.…,;:、，。।"
"""The characters that are removed from the end of a phrase before the dialect adds its own ending."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """How the clients of one platform expect speech."""

    name: str
    """The name in the configuration (`dialect = "..."`)."""
    acknowledges: bool = True
    """True if the gateway says acknowledgements and progress phrases."""
    ack_ending: str | None = None
    """The ending of the gateway's phrases; None for the language's full stop and a space."""
    filters_speech: bool = True
    """True if the agent's text is made speakable; False if it passes unchanged."""

    def punctuate(self, phrase: str, full_stop: str = ".") -> str:
        """Return the phrase with an ending that joins well with the speech after it, such as "One moment. ".

        `full_stop` is the full stop of the phrase's language. Return "" for a phrase without words.
        """
        trimmed = phrase.strip().rstrip(TRIMMED_ENDINGS)
        if not trimmed:
            return ""
        if trimmed[-1] in "?!？！":
            return f"{trimmed} "
        return trimmed + (f"{full_stop} " if self.ack_ending is None else self.ack_ending)


# The dialects by name.
# ElevenLabs speaks dots plus a space as a pause, and glues the next word to dots without a space. Vapi holds
# text back until it sees punctuation, so that a clause must be complete to be heard at once.
DIALECTS: Mapping[str, Dialect] = {
    dialect.name: dialect
    for dialect in (
        Dialect("voice"),
        Dialect("elevenlabs", ack_ending="... "),
        Dialect("vapi"),
        Dialect("chat", acknowledges=False, filters_speech=False),
    )
}
