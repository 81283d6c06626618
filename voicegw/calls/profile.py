"""How one platform's calls are served, and what its callers' words ask of the agent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from voicegw.calls.codec import TurnRequested
from voicegw.conversations.call_store import CallRecord
from voicegw.conversations.history import part_of_last, without
from voicegw.events import Message, Tool, Turn
from voicegw.security.keys import ApiKey
from voicegw.turns.dialects import DIALECTS, Dialect
from voicegw.turns.prompts import CALL_START_PROMPT, SILENCE_PROMPT
from voicegw.turns.served_agent import ServedAgent


@dataclass(frozen=True, slots=True)
class CallProfile:
    """How one platform's calls are served: by which line, in which language, with which greeting.

    `actions` are the tools that the agent may use on the call. `speculate`: the agent is asked already while
    the caller may still go on. `key` stands for the platform in limits and logs; `dialect` is how it wants
    our own words. `facts` are what is known of the call before the platform tells more. A call that is not
    `kept` has no name by which anybody could come back to it.
    """

    key: ApiKey
    agent: ServedAgent
    language: str = "en"
    greeting: str = ""
    actions: tuple[Tool, ...] = ()
    speculate: bool = False
    dialect: Dialect = DIALECTS["voice"]
    metadata: Mapping[str, Any] = field(default_factory=dict)
    is_named: bool = True

    def turn(
        self, id: str, call: CallRecord, asked: TurnRequested, said: frozenset[str], facts: Mapping[str, Any]
    ) -> Turn:
        """What the agent is asked. `said` are words of ours that are none of its business, `facts` what the
        platform told of the call: the agent finds them in `turn.extra["call"]`.
        """
        book = call.transcript
        language, history, heard = asked.language or self.language, asked.history, book.heard
        if history is None:
            history = (*book.messages, *((Message("user", asked.user_text),) if asked.user_text else ()))
        else:
            history = without(book.own_words, history)
        messages = self.agent.clean_history(history, language, said)
        if asked.history is not None:
            heard = part_of_last(book.messages, messages)
        if asked.kind == "reminder":
            messages = (*messages, Message("user", SILENCE_PROMPT))
        if not messages:
            messages = (Message("user", CALL_START_PROMPT),)
        return Turn(
            id=id,
            messages=messages,
            tenant=self.key.name,
            call=call.id,
            kind=asked.kind,
            language=language,
            tools=(*self.actions, *asked.tools),
            tool_choice=asked.tool_choice,
            options=asked.options,
            extra={"call": facts} if facts else {},
            heard=heard,
        )
