"""What was said on a call, as a platform that sends the whole conversation keeps it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

Entry: TypeAlias = dict[str, str]


class Transcript:
    """Utterances of "user" and "agent", in order. `reply` is what the agent says now, None if nothing."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.reply: Entry | None = None

    def asked(self, said: str) -> None:
        """The caller said this."""
        self.entries.append({"role": "user", "content": said})

    def perhaps(self, said: str) -> Sequence[Entry]:
        """How it would be if the caller said this, which may still change."""
        return [*self.entries, {"role": "user", "content": said}]

    def answered(self, words: str) -> None:
        """The agent says this, after what it said before in the same answer."""
        if self.reply is None and words:
            self.reply = {"role": "agent", "content": ""}
            self.entries.append(self.reply)
        if self.reply is not None:
            self.reply["content"] += words

    def cut(self, heard: str) -> None:
        """Of the present answer the caller heard only this."""
        if self.reply is not None:
            self.reply["content"] = heard
            self.entries = [entry for entry in self.entries if entry is not self.reply or heard]
        self.reply = None

    def closed(self) -> None:
        """The present answer is over."""
        self.reply = None
