"""Dialects: how one kind of client wants to be spoken to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

SPENT = " \t\r\n.…,;:、，。।"
"""What is cut from the end of a phrase before the dialect ends it its own way."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """`words`: do we acknowledge in words; `trail`: how such words end, None for the language's full stop.

    `speech`: is the agent's text made speakable, or passed on as it was written?
    """

    name: str
    acknowledges: bool = True
    trail: str | None = None
    speech: bool = True

    def punctuate(self, phrase: str, stop: str = ".") -> str:
        """End a phrase so that the speech that follows joins well, for example "One moment. "."""
        bare = phrase.strip().rstrip(SPENT)
        if not bare:
            return ""
        if bare[-1] in "?!？！":
            return f"{bare} "
        return bare + (f"{stop} " if self.trail is None else self.trail)


# ElevenLabs speaks dots plus a space as a pause, and glues what follows to dots without one. Vapi holds
# text back until it sees punctuation, so that a clause must be complete to be heard at once.
DIALECTS: Mapping[str, Dialect] = {
    dialect.name: dialect
    for dialect in (
        Dialect("voice"),
        Dialect("elevenlabs", trail="... "),
        Dialect("vapi"),
        Dialect("chat", acknowledges=False, speech=False),
    )
}
