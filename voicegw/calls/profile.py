"""The profile of a platform's calls, and the turn that it makes of a request.

It holds no state of a call: that is in `voicegw.conversations.call_store`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from voicegw.calls.codec import TurnRequested
from voicegw.conversations.call_store import CallRecord
from voicegw.conversations.history import heard_part_of_last_reply, without_partial_own_words
from voicegw.events import Message, Tool, Turn
from voicegw.security.keys import ApiKey
from voicegw.turns.dialects import DIALECTS, Dialect
from voicegw.turns.prompts import CALL_START_PROMPT, SILENCE_PROMPT
from voicegw.turns.served_agent import ServedAgent


@dataclass(frozen=True, slots=True)
class CallProfile:
    """The agent, the language, the greeting and the options with which one platform's calls are served."""

    key: ApiKey
    """The API key in whose name the calls run, for the rate limit, the turn log and `Turn.tenant`."""
    agent: ServedAgent
    """The agent that answers."""
    language: str = "en"
    """The language of the call until the platform reports another one, as a BCP 47 tag."""
    greeting: str = ""
    """The words with which the call begins; "" lets the caller speak first."""
    actions: tuple[Tool, ...] = ()
    """Tools that the agent may use on the call; the gateway runs them."""
    speculate: bool = False
    """Ask the agent while the speech recognition may still change the caller's words."""
    dialect: Dialect = DIALECTS["voice"]
    """How the platform wants the gateway's own words."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """The description of the call until the platform sends its own."""
    is_named: bool = True
    """False for a call without a client's id: no other socket can resume it; it ends with its socket."""

    def build_turn(
        self,
        id: str,
        call: CallRecord,
        request: TurnRequested,
        own_phrases: frozenset[str],
        metadata: Mapping[str, Any],
    ) -> Turn:
        """Return the agent's turn for a request of the platform.

        `id` is the turn's id. `own_phrases` are the gateway's own words in this call: they are removed from
        the messages. `metadata` is the platform's description of the call: it becomes `turn.extra["call"]`.
        """
        transcript = call.transcript
        language, history, heard = request.language or self.language, request.history, transcript.heard_text
        if history is None:
            history = (
                *transcript.messages,
                *((Message("user", request.user_text),) if request.user_text else ()),
            )
        else:
            history = without_partial_own_words(transcript.own_words, history)
        messages = self.agent.clean_history(history, language, own_phrases)
        if request.history is not None:
            heard = heard_part_of_last_reply(transcript.messages, messages)
        if request.kind == "reminder":
            messages = (*messages, Message("user", SILENCE_PROMPT))
        if not messages:
            messages = (Message("user", CALL_START_PROMPT),)
        return Turn(
            id=id,
            messages=messages,
            tenant=self.key.name,
            call=call.id,
            kind=request.kind,
            language=language,
            tools=(*self.actions, *request.tools),
            tool_choice=request.tool_choice,
            options=request.options,
            extra={"call": metadata} if metadata else {},
            heard=heard,
        )
