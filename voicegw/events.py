"""The contract between the gateway and an agent: a `Turn` goes in, events come out.

An agent is any object with `reply(turn)`, an async generator of events. A plain `str` is a text delta; the
classes below are the other events. Failures are exceptions (`voicegw.errors`), not events. This module knows
no platform and no wire format. See docs/python-agents.md.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol, TypeAlias

__all__ = [
    "REASONING",
    "Activity",
    "Agent",
    "Event",
    "Finish",
    "Message",
    "Reason",
    "Role",
    "Tool",
    "ToolCall",
    "Turn",
    "Usage",
    "extra_models",
]

Reason: TypeAlias = Literal["stop", "length", "tool_calls", "content_filter"]
"""The values of OpenAI's `finish_reason`."""
Role: TypeAlias = Literal["system", "developer", "user", "assistant", "tool", "function"]
"""The roles of OpenAI's chat messages."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """The agent asks the platform to run a tool that the request offered. A tool call is always complete."""

    id: str
    """The identifier that the tool's result refers to."""
    name: str
    """The tool's name, as in `Turn.tools`."""
    arguments: str = "{}"
    """A JSON object as text; `{}` without arguments."""


@dataclass(frozen=True, slots=True)
class Activity:
    """The agent works in silence, for example on a tool that it runs itself. It counts as alive.

    The gateway never speaks an activity.
    """

    what: str
    """A short name of the work, such as the tool's name. It is not spoken."""


REASONING: Final = Activity("reasoning")
"""The agent's model reasons, or writes the arguments of a tool call.

Yield it for every piece of such a stream: each one counts as alive, one activity is reported until other
output follows, and the key `max_reasoning` limits the seconds of the stream.
"""


@dataclass(frozen=True, slots=True)
class Usage:
    """The number of tokens that one turn used, as the agent counts them."""

    prompt: int = 0
    """Tokens of the prompt, with those read from a cache."""
    completion: int = 0
    """Tokens of the answer, with those of reasoning."""
    cached: int = 0
    """Tokens of the prompt that came from a cache."""
    reasoning: int = 0
    """Tokens of the answer that were reasoning."""


@dataclass(frozen=True, slots=True)
class Finish:
    """The reason for which the agent stopped. It is optional.

    A generator that ends without it means "stop", or "tool_calls" after a tool call.
    """

    reason: Reason = "stop"
    """The value for OpenAI's `finish_reason`."""


Event: TypeAlias = str | ToolCall | Activity | Usage | Finish
"""Everything that an agent may yield. A `str` is a text delta."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message of the conversation so far."""

    role: Role
    """The author, in OpenAI's terms."""
    text: str = ""
    """All text of the message, joined."""
    parts: tuple[Mapping[str, Any], ...] = ()
    """The content parts as received if they hold more than text (images, files); empty otherwise."""
    tool_calls: tuple[ToolCall, ...] = ()
    """The tool calls of an assistant message."""
    tool_call_id: str | None = None
    """The tool call that a message of role "tool" answers."""
    name: str | None = None
    """The author's name if the request gives one."""


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool that the platform offers and runs itself."""

    name: str
    """The name that a `ToolCall` refers to."""
    description: str = ""
    """The description that the model reads."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """The JSON schema of the arguments; empty for a tool without arguments."""
    strict: bool | None = None
    """OpenAI's `strict`: arguments follow the schema exactly. None if the request does not say."""


@dataclass(frozen=True, slots=True)
class Turn:
    """The input of one answer: an agent answers a turn once."""

    id: str
    """A unique identifier, also in the log."""
    messages: tuple[Message, ...]
    """The conversation so far, without the gateway's own phrases."""
    model: str = ""
    """The name that the client asked for."""
    tenant: str = ""
    """The name of the client's API key; "" without keys."""
    call: str | None = None
    """The identifier of the call; None if the request belongs to no call."""
    kind: str = "said"
    """The occasion: "said" (the caller spoke), "keypad" (the caller pressed digits), "reminder" (the platform
    asks for words because the caller is silent, or a noise interrupted the agent) or "tool" (the agent's tool
    calls of a voice call were run; an answer without words is then no failure)."""
    language: str = "en"
    """The caller's language as a BCP 47 tag."""
    tools: tuple[Tool, ...] = ()
    """The tools that the agent may call."""
    tool_choice: str | Mapping[str, Any] | None = None
    """OpenAI's `tool_choice`; None if the request has none."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """The sampling fields (`temperature`, `max_tokens`, ...) under their OpenAI names."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """The fields that OpenAI does not define: `elevenlabs_extra_body`, `user_id`, Vapi's `call`, ..."""
    heard: str | None = None
    """The part of the last reply that the caller heard before an interruption; None if all of it."""
    background: bool = False
    """True if this turn may run beside another turn of its call."""

    @property
    def said(self) -> str:
        """The text of the last user message, or "" if there is none."""
        return next((m.text for m in reversed(self.messages) if m.role == "user"), "")


class Agent(Protocol):
    """Answers turns. The gateway stops a reply by closing its generator.

    The generator's `finally` then tells the remote side to stop. An agent may also have an attribute
    `models`: a sequence of further model names for which it answers, which may grow while it runs.
    `Turn.model` has the name that the client asked for.
    """

    def reply(self, turn: Turn) -> AsyncGenerator[Event, None]:
        """Answer one turn. Yield events.

        Raise `voicegw.errors.AgentError` when the agent cannot answer; the gateway says an apology instead.
        """
        ...

    async def warm(self, call: str | None = None) -> None:
        """Prepare connections and caches, so that the first turn is fast.

        `call` is None when the gateway starts, or the identifier of a call that begins. An exception is
        logged and has no other effect.
        """
        ...

    async def call_ended(self, call: str) -> None:
        """Release the resources that are held for this call, if there are any."""
        ...

    async def aclose(self) -> None:
        """Close all connections. No turn runs any more."""
        ...


def extra_models(agent: Agent) -> Sequence[str]:
    """Return the further model names for which an agent answers (`Agent.models`); empty without any."""
    models: Sequence[str] = getattr(agent, "models", ())
    return models
