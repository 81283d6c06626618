"""The transcript of a call: the words of both sides, as far as the caller heard them. Pure.

An agent that knows what it said, but not what the caller heard, continues from words that the caller never
heard. So an interrupted reply is kept only up to the last word that the caller heard.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from voicegw.conversations.spoken_reply import SpokenReply
from voicegw.events import Message, ToolCall
from voicegw.turns.prompts import ACTION_CUT_OFF
from voicegw.wire.memory_size import message_bytes

MAX_MESSAGES = 2000
MAX_BYTES = 1_000_000
"""Limits of one transcript, in messages and in bytes. Above them, the oldest messages are dropped."""
REPLAY_GAP = 0.25
"""Maximum seconds between two frames of a replay: a platform sends the frames that it kept back to back."""


@dataclass(slots=True)
class Transcript:
    """The conversation of one call, for platforms that do not send it with each turn."""

    messages: list[Message] = field(default_factory=list)
    """The messages of caller, agent and tools, the oldest first."""
    heard_text: str | None = None
    """The part of the last reply that the caller heard; None for all of it. The next turn carries it."""
    last_spoken: SpokenReply = field(default_factory=SpokenReply)
    """Everything that was said in the last turn, with the gateway's own words."""
    byte_count: int = 0
    """The bytes of memory of all messages."""

    def add_user(self, text: str) -> None:
        """Add words of the caller."""
        self._append(Message("user", text))

    def add_assistant(
        self,
        spoken: SpokenReply,
        tool_calls: Sequence[ToolCall] = (),
        results: Mapping[str, str] | None = None,
    ) -> tuple[Message, ...]:
        """Add a reply and return its messages, which are without the gateway's own words.

        `tool_calls` are the agent's calls, each followed by its result; `results` are those by the call's id.
        A call without a result was cut off by the caller.
        """
        self.heard_text, self.last_spoken = None, spoken
        added = []
        if spoken.agent_text or tool_calls:
            added.append(Message("assistant", spoken.agent_text, tool_calls=tuple(tool_calls)))
        for call in tool_calls:
            result = (results or {}).get(call.id, ACTION_CUT_OFF)
            added.append(Message("tool", result, tool_call_id=call.id, name=call.name))
        for message in added:
            self._append(message)
        return tuple(added)

    def truncate(self, report: str) -> None:
        """Cut the last reply to the words that the caller heard, as the platform reports them; "" for none.

        The report may come after the caller's next words. It counts the gateway's own words too. Do nothing
        if it is no beginning of the last reply: it belongs to another one then.
        """
        index = self._last_reply_index()
        if index is None:
            return
        reply = self.messages[index]
        spoken = self.last_spoken if self.last_spoken.agent_text == reply.text else SpokenReply(reply.text)
        if self.messages[-1].role == "user" and not (report.strip() and spoken.has_beginning(report)):
            return  # a late report has to name the reply without doubt
        heard = spoken.heard_text(report)
        if heard is None or len(heard) >= len(reply.text):
            return
        self.heard_text = heard
        if heard or reply.tool_calls:
            self._replace_text(index, heard)
        else:
            self._remove(index)

    def replace_result(self, name: str, result: str) -> bool:
        """Replace the result of the action with this name in the last reply; return whether there is one.

        Do nothing if anybody spoke after the action.
        """
        for index in range(len(self.messages) - 1, -1, -1):
            message = self.messages[index]
            if message.role != "tool":
                return False
            if message.name == name:
                self._replace_text(index, result)
                return True
        return False

    def pop_unanswered(self) -> str | None:
        """Remove and return the caller's last words if no reply follows them, to ask again; else None."""
        if self.messages and self.messages[-1].role == "user":
            return self._remove(-1).text
        return None

    def _last_reply_index(self) -> int | None:
        """Return the index of the last reply; None if the caller spoke more than once after it."""
        questions = 0
        for index in range(len(self.messages) - 1, -1, -1):
            role = self.messages[index].role
            if role == "assistant":
                return index
            questions += role == "user"
            if questions > 1:
                return None
        return None

    def _append(self, message: Message) -> None:
        self.messages.append(message)
        self.byte_count += message_bytes(message)
        while len(self.messages) > MAX_MESSAGES or (self.byte_count > MAX_BYTES and len(self.messages) > 1):
            self._remove(0)

    def _replace_text(self, index: int, text: str) -> None:
        old, self.messages[index] = self.messages[index], replace(self.messages[index], text=text)
        self.byte_count += message_bytes(self.messages[index]) - message_bytes(old)

    def _remove(self, index: int) -> Message:
        message = self.messages.pop(index)
        self.byte_count -= message_bytes(message)
        return message


class ReplayDetector:
    """Detects words that a platform repeats right after it reconnected a call on a new socket.

    Only a proven repetition counts: the same words in the same order, in the burst of frames that follows the
    reconnect without a pause. People repeat themselves too, but not within it.
    """

    def __init__(self, transcript: Transcript | None = None, now: float = 0.0) -> None:
        # The time of the burst's last frame, in seconds; at first that of the reconnect.
        self.last_frame_at = now
        messages = [] if transcript is None else transcript.messages
        # The caller's words that the platform may still repeat, in order; empty after the burst.
        self.texts = [message.text for message in messages if message.role == "user"]

    @property
    def in_burst(self) -> bool:
        """May the current frame be a repetition?"""
        return bool(self.texts)

    def on_frame(self, now: float) -> None:
        """Note that a frame was received at `now`; a pause of more than `REPLAY_GAP` ends the burst."""
        if now - self.last_frame_at > REPLAY_GAP:
            self.texts = []
        self.last_frame_at = now

    def is_repeated(self, text: str) -> bool:
        """Return whether the platform repeats words that the caller said before the reconnect.

        Side effect: the first words that are not repeated end the detection.
        """
        if text not in self.texts:
            self.texts = []
            return False
        del self.texts[: self.texts.index(text) + 1]
        return True
