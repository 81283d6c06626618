"""A whole answer, collected from the events of an agent. For answers that are not streamed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from voicegw.events import Event, Finish, Message, ToolCall, Usage
from voicegw.wire.openai import CANCELLED


@dataclass(frozen=True, slots=True)
class Completion:
    """A whole answer of an agent."""

    parts: tuple[str | ToolCall, ...]
    """Texts and tool calls in their order; adjacent texts are joined."""
    reason: str = "stop"
    """OpenAI's `finish_reason`, or `CANCELLED` for an answer that the gateway cut."""
    usage: Usage | None = None
    """The tokens used; None if the agent did not report them."""

    @property
    def text(self) -> str:
        """All text of the answer, joined."""
        return "".join(part for part in self.parts if isinstance(part, str))

    @property
    def tool_calls(self) -> list[ToolCall]:
        """The tool calls of the answer."""
        return [part for part in self.parts if isinstance(part, ToolCall)]

    @property
    def messages(self) -> tuple[Message, ...]:
        """The answer as one message of the conversation; empty for an empty answer."""
        return (Message("assistant", self.text, tool_calls=tuple(self.tool_calls)),) if self.parts else ()


def final_reason(reason: str, has_tool_calls: bool, was_cancelled: bool) -> str:
    """Return the reason of an answer: the agent's, unless tool calls or a cancellation give another.

    `tool_calls` without a tool call becomes `stop`: the request did not offer the tool that the agent called.
    """
    if has_tool_calls:
        return "tool_calls" if reason == "stop" else reason
    if was_cancelled:
        return CANCELLED
    return "stop" if reason == "tool_calls" else reason


def collect(events: Iterable[Event], was_cancelled: bool = False) -> Completion:
    """Return the answer that these events add up to. Activities are left out.

    `was_cancelled`: the gateway cut the answer.
    """
    parts: list[str | ToolCall] = []
    deltas: list[str] = []
    reason, usage = "stop", None
    for event in events:
        if isinstance(event, str):
            deltas.append(event)
        elif isinstance(event, ToolCall):
            parts += [*_joined(deltas), event]
            deltas = []
        elif isinstance(event, Finish):
            reason = event.reason
        elif isinstance(event, Usage):
            usage = event
    parts += _joined(deltas)
    has_tool_call = any(isinstance(part, ToolCall) for part in parts)
    return Completion(tuple(parts), final_reason(reason, has_tool_call, was_cancelled), usage)


def _joined(deltas: list[str]) -> list[str]:
    text = "".join(deltas)
    return [text] if text else []
