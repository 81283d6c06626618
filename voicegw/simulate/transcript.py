"""The transcript of a call, as a platform that sends the whole conversation keeps it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

TranscriptEntry: TypeAlias = dict[str, str]


class PlatformTranscript:
    """Keeps the utterances of "user" and "agent" in `entries`, in order.

    `reply` is the entry of the answer that the agent is giving; None before its first text.
    """

    def __init__(self) -> None:
        self.entries: list[TranscriptEntry] = []
        self.reply: TranscriptEntry | None = None

    def add_user(self, text: str) -> None:
        """Add an utterance of the caller."""
        self.entries.append({"role": "user", "content": text})

    def with_partial(self, text: str) -> Sequence[TranscriptEntry]:
        """Return the entries and a partial utterance of the caller; the transcript itself stays as it is."""
        return [*self.entries, {"role": "user", "content": text}]

    def append_reply(self, text: str) -> None:
        """Append text to the agent's current answer; the first text begins one."""
        if self.reply is None and text:
            self.reply = {"role": "agent", "content": ""}
            self.entries.append(self.reply)
        if self.reply is not None:
            self.reply["content"] += text

    def truncate_reply(self, heard_text: str) -> None:
        """End the current answer, and keep only the part that the caller heard; "" removes the entry."""
        if self.reply is not None:
            self.reply["content"] = heard_text
            self.entries = [entry for entry in self.entries if entry is not self.reply or heard_text]
        self.reply = None

    def end_reply(self) -> None:
        """End the current answer."""
        self.reply = None
