"""The profile of a platform's calls, and the turn that it makes of a request.

It holds no state of a call: that is in `voicegw.conversations.call_store`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from voicegw.calls.codec import TurnRequested
from voicegw.conversations.call_record import CallRecord
from voicegw.conversations.history import heard_part_of_last_reply
from voicegw.events import Message, Tool, Turn
from voicegw.security.keys import ApiKey
from voicegw.turns.dialects import DIALECTS, Dialect
from voicegw.turns.own_phrases import OwnPhrase
from voicegw.turns.prompts import CALL_START_PROMPT
from voicegw.turns.served_agent import ServedAgent

FalseInterruption: TypeAlias = Literal["resume", "reminder", "ignore"]
"""After an interruption without words: the agent goes on with its answer, says something short, or waits."""


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
    languages: tuple[str, ...] = ()
    """The languages that the platform can speak on the call; () if they are not known."""
    speaks_callers_language: bool = False
    """Speak each reply in the language that the platform reported for the caller's words."""
    chars_per_second: float = 0.0
    """The speed of speech, for which the end of the call waits; 0 if the platform waits itself."""
    false_interruption: FalseInterruption = "ignore"
    """How the call goes on after an interruption without words."""
    false_interruption_timeout: float = 5.0
    """Seconds without words after which an interruption is such a one."""
    is_named: bool = True
    """False for a call without a client's id: no other socket can resume it; it ends with its socket."""

    def build_turn(
        self,
        id: str,
        call: CallRecord,
        request: TurnRequested,
        own_phrases: Sequence[OwnPhrase] | None,
        metadata: Mapping[str, Any],
    ) -> Turn:
        """Return the agent's turn for a request of the platform.

        `id` is the turn's id. `own_phrases` are the gateway's own words in this call: they are removed from
        the platform's messages. `metadata` is the platform's description of the call, for
        `turn.extra["call"]`.
        """
        transcript = call.transcript
        language, heard = request.language or self.language, transcript.heard_text
        if request.history is None:  # the transcript has none of the gateway's words
            user_text = (Message("user", request.user_text),) if request.user_text else ()
            messages: tuple[Message, ...] = (*transcript.messages, *user_text)
        else:
            messages = self.agent.clean_history(request.history, language, own_phrases, self.dialect)
            heard = heard_part_of_last_reply(transcript.messages, messages)
        if request.kind == "reminder":
            messages = (*messages, Message("user", request.prompt))
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
