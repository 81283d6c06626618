"""What is said in a turn: messages in, events out, and the contract between them.

An agent is anything with `reply(turn)`, an async generator of events. A plain `str` is a delta of
speech; everything else that can happen is one of the small classes below. Failures are not events
but exceptions (`voicegw.errors`).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias

Reason: TypeAlias = Literal["stop", "length", "tool_calls", "content_filter"]
Role: TypeAlias = Literal["system", "developer", "user", "assistant", "tool", "function"]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """The agent asks the platform to run a tool that the request offered.

    Always a whole call: `arguments` is a JSON object as text, `{}` when there are none.
    """

    id: str
    name: str
    arguments: str = "{}"


@dataclass(frozen=True, slots=True)
class Activity:
    """The agent went quiet to work, for example on a tool of its own. Counts as alive, is never spoken."""

    what: str


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens that this one turn used, as the agent counts them."""

    prompt: int = 0
    completion: int = 0
    cached: int = 0
    reasoning: int = 0


@dataclass(frozen=True, slots=True)
class Finish:
    """Why the agent stopped. Optional: a generator that just ends means "stop" (or "tool_calls")."""

    reason: Reason = "stop"


Event: TypeAlias = str | ToolCall | Activity | Usage | Finish


@dataclass(frozen=True, slots=True)
class Message:
    """One message of the conversation so far.

    `text` is all of its text joined; `parts` keeps the content parts as they came whenever they hold
    more than text (images, files), for agents that can use them.
    """

    role: Role
    text: str = ""
    parts: tuple[Mapping[str, Any], ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool that the platform offers and runs itself. `parameters` is a JSON schema."""

    name: str
    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    strict: bool | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    """What one agent is asked to answer, once.

    `model` is the name that the client asked for. `options` are the sampling fields of the request
    (`temperature`, `max_tokens`, ...) under their OpenAI names, `extra` everything in the request that
    is not OpenAI's: `elevenlabs_extra_body`, `user_id`, Vapi's `call`, and so on. `heard` is what the caller
    heard of the last reply, None if that was all of it. A turn `aside` may run beside another of its call.
    """

    id: str
    messages: tuple[Message, ...]
    model: str = ""
    tenant: str = ""
    call: str | None = None
    kind: str = "said"
    language: str = "en"
    tools: tuple[Tool, ...] = ()
    tool_choice: str | Mapping[str, Any] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)
    heard: str | None = None
    background: bool = False

    @property
    def said(self) -> str:
        """The text of the last user message, or "" when there is none."""
        return next((m.text for m in reversed(self.messages) if m.role == "user"), "")


class Agent(Protocol):
    """Answers turns. Stopping a reply is closing its generator; its `finally` tells the remote side.

    An agent that answers for further models than its own name has `models`, a sequence of their names that
    may grow while it runs; the turn tells which one was asked for.
    """

    def reply(self, turn: Turn) -> AsyncGenerator[Event, None]:
        """Answer one turn. Raises `voicegw.errors.AgentError` when it cannot."""
        ...

    async def warm(self, call: str | None = None) -> None:
        """Get ready: the gateway started (`call` is None) or a call opened."""
        ...

    async def call_ended(self, call: str) -> None:
        """A call is over: let go of what is kept for it, if anything is."""
        ...

    async def aclose(self) -> None:
        """Let go of connections; no turn is running any more."""
        ...


def extra_models(agent: Agent) -> Sequence[str]:
    """The further models that an agent answers for."""
    found: Sequence[str] = getattr(agent, "models", ())
    return found
