"""An agent that keeps its provider's prompt cache warm, so that a call's first answer comes sooner.

Providers cache the beginning of a prompt for some minutes. If the cache is cold, they read a long prompt
anew, which delays the first answer of a call. A request for one token, sent when the call opens, warms the
cache before the caller speaks. The marks for the provider's cache are set by each model's agent (`cache`).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import takewhile

from voicegw.events import Agent, Event, Message, Turn, extra_models
from voicegw.turns.streaming import EventSink, StreamingAgent, stream_events

log = logging.getLogger("voicegw.error")

CACHE_LIFETIME = 240.0
"""Seconds after which the cache may be cold; most providers promise five minutes."""
WARM_TIMEOUT = 10.0
"""Seconds that a request which warms the cache may take."""
TOKEN_LIMITS = ("max_tokens", "max_completion_tokens")
"""The names of the limit of an answer's tokens; each agent sends the one that its server takes."""


class CacheWarmedAgent(StreamingAgent):
    """`agent`, with `instructions` for turns that bring none, and with a warm prompt cache if `warm`.

    The warmed prompt is the instructions and tools of the last turn; before the first turn, it is
    `instructions` alone. A request for one token warms the cache at start, which also shows whether key and
    model are right, and when a call opens after a pause. A turn of that call cancels the request.

    `now` returns a time in seconds that never goes back.
    """

    def __init__(
        self,
        agent: Agent,
        *,
        instructions: str | None = None,
        warm: bool = False,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        # The agent that answers every turn.
        self.agent = agent
        self._instructions = (Message("system", instructions),) if instructions else ()
        self._warm = warm
        self._now = now
        # A turn that holds only the beginning that the next turns share.
        self._prefix = Turn("cache-warming", self._instructions)
        # The time when the provider last read the prefix, None if it never did.
        self._last_read: float | None = None
        # The deadline of the request that warms the cache, None if there is no such request.
        self._deadline: asyncio.Timeout | None = None
        # The call for which that request was sent, None at start.
        self._warmed_call: str | None = None

    async def stream(self, turn: Turn, sink: EventSink) -> None:
        """Stream the agent's answer; raises the `AgentError` of the agent."""
        if self._instructions and not any(map(is_instruction, turn.messages)):
            turn = replace(turn, messages=(*self._instructions, *turn.messages))
        if self._warm:
            self._note_turn(turn)
        await stream_events(self.agent, turn, sink)

    def _note_turn(self, turn: Turn) -> None:
        """Remember the prefix of a turn, and cancel a warming request: the turn itself warms the cache."""
        if self._warmed_call in (None, turn.call):
            self._cancel_warming()
        if not turn.background:
            self._last_read = self._now()
            self._prefix = common_prefix(turn)

    def _cancel_warming(self) -> None:
        deadline, self._deadline = self._deadline, None
        if deadline is not None and not deadline.expired():
            deadline.reschedule(asyncio.get_running_loop().time())

    async def warm(self, call: str | None = None) -> None:
        """Warm the agent, and the prompt cache at start or if it may be cold.

        Raises what the agent raises, such as the `AgentError` of a server that refuses the key.
        """
        await self.agent.warm(call)
        if self._warm and self._deadline is None and (call is None or self._is_cold):
            await self._warm_cache(call)

    @property
    def _is_cold(self) -> bool:
        """Whether there is a prefix that the provider may have forgotten."""
        has_prefix = self._prefix.messages or self._prefix.tools
        return bool(has_prefix) and (
            self._last_read is None or self._now() - self._last_read >= CACHE_LIFETIME
        )

    async def _warm_cache(self, call: str | None) -> None:
        """Ask for one token. Meanwhile, warm the agent again: the turn needs a second connection."""
        self._warmed_call = call
        try:
            async with asyncio.timeout(WARM_TIMEOUT) as deadline, asyncio.TaskGroup() as tasks:
                self._deadline = deadline
                tasks.create_task(self._ask_for_one_token(self._prefix))
                tasks.create_task(self.agent.warm(call))
            self._last_read = self._now()
        except TimeoutError:
            if self._deadline is deadline:
                log.info("the prompt cache was not warmed within %g seconds", WARM_TIMEOUT)
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None
        finally:
            if self._deadline is deadline:
                self._deadline = None

    async def _ask_for_one_token(self, prefix: Turn) -> None:
        """Send the prefix and wait for the first event: by then the provider has read the prefix."""
        fields = [name for name in TOKEN_LIMITS if name in prefix.options] or TOKEN_LIMITS[:1]
        options = {**prefix.options, **dict.fromkeys(fields, 1)}
        turn = replace(prefix, messages=(*prefix.messages, Message("user", "Hi")), options=options)
        await stream_events(self.agent, turn, FirstEventSink())

    @property
    def models(self) -> Sequence[str]:
        """The models of the agent."""
        return extra_models(self.agent)

    async def call_ended(self, call: str) -> None:
        """Call the agent's `call_ended`; raises what that raises."""
        await self.agent.call_ended(call)

    async def aclose(self) -> None:
        """Close the agent; raises what its `aclose` raises."""
        await self.agent.aclose()


class FirstEventSink:
    """An `EventSink` that ends a reply at its first event."""

    def push(self, event: Event) -> bool:
        return False

    def flush(self) -> None: ...


def is_instruction(message: Message) -> bool:
    """Whether the message is an instruction: it is from the system or the developer."""
    return message.role in ("system", "developer")


def common_prefix(turn: Turn) -> Turn:
    """Return a turn with what later turns have in common with this one: instructions, tools and options."""
    return Turn(
        "cache-warming",
        tuple(takewhile(is_instruction, turn.messages)),
        model=turn.model,
        language=turn.language,
        tools=turn.tools,
        options=turn.options,
    )
