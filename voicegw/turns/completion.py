"""A whole answer: what an agent's events come to when nobody listens meanwhile."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from voicegw.events import Event, Finish, Message, ToolCall, Usage


@dataclass(frozen=True, slots=True)
class Completion:
    """`said` are words and tool calls in their order, `reason` is why the agent stopped."""

    said: tuple[str | ToolCall, ...]
    reason: str = "stop"
    usage: Usage | None = None

    @property
    def text(self) -> str:
        return "".join(part for part in self.said if isinstance(part, str))

    @property
    def calls(self) -> list[ToolCall]:
        return [part for part in self.said if isinstance(part, ToolCall)]

    @property
    def messages(self) -> tuple[Message, ...]:
        """The answer as a part of the conversation; none if nothing was said."""
        return (Message("assistant", self.text, tool_calls=tuple(self.calls)),) if self.said else ()


def collect(events: Iterable[Event]) -> Completion:
    """The answer that these events make."""
    said: list[str | ToolCall] = []
    words: list[str] = []
    reason, usage = "stop", None
    for event in events:
        if isinstance(event, str):
            words.append(event)
        elif isinstance(event, ToolCall):
            said += [*_together(words), event]
            words = []
        elif isinstance(event, Finish):
            reason = event.reason
        elif isinstance(event, Usage):
            usage = event
    said += _together(words)
    called = reason == "stop" and any(isinstance(part, ToolCall) for part in said)
    return Completion(tuple(said), "tool_calls" if called else reason, usage)


def _together(words: list[str]) -> list[str]:
    text = "".join(words)
    return [text] if text else []
