"""ElevenLabs with a custom LLM: its requests and its checks. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from secrets import token_hex
from typing import Any

from voicegw.simulate.checks import Check
from voicegw.simulate.http_checks import (
    CHAT,
    RecordedStream,
    begins_within,
    check_streams,
    split_first_words,
)
from voicegw.simulate.http_platform import DEFAULT_MODEL, HttpEntry, SimulatedHttpPlatform, completions_url
from voicegw.simulate.recording import CLAUSE_ENDS
from voicegw.simulate.script import CallScript

CASCADE_TIMEOUT = 2.0
"""Seconds: the shortest timeout that an operator can set. After it the same request is sent again."""
CALL_HEADER = "X-Voicegw-Call"
"""The header to which the operator maps system__conversation_id."""
ELLIPSES = ("...", "…")


def _text_schema(description: str) -> dict[str, str]:
    return {"type": "string", "description": description}


def _object_schema(*required: str, **properties: Any) -> dict[str, Any]:
    schemas = {"reason": _text_schema("Why, for the record."), **properties}
    return {"type": "object", "properties": schemas, "required": list(required)}


SYSTEM_TOOLS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "end_call": (
        "End the call.",
        _object_schema("reason", message=_text_schema("Last words to the caller.")),
    ),
    "language_detection": (
        "Change the language of the conversation.",
        _object_schema("reason", "language", language=_text_schema("Code of the language.")),
    ),
    "transfer_to_agent": (
        "Hand the caller to another agent.",
        _object_schema(
            "agent_number", agent_number={"type": "integer", "description": "Its number, from 0."}
        ),
    ),
    "transfer_to_number": (
        "Hand the caller to a person.",
        _object_schema(
            *("transfer_number", "client_message", "agent_message"),
            transfer_number=_text_schema("Number in E.164 form."),
            client_message=_text_schema("What the caller hears."),
            agent_message=_text_schema("What the person hears."),
        ),
    ),
    "skip_turn": ("Stay silent until the caller speaks again.", _object_schema()),
    "play_keypad_touch_tone": (
        "Press keys.",
        _object_schema("dtmf_tones", dtmf_tones=_text_schema("Keys 0-9 * #, w for half a second's pause.")),
    ),
    "voicemail_detection": ("A mailbox answered.", _object_schema()),
}
"""ElevenLabs' own tools: description and parameters."""


class SimulatedElevenLabs(SimulatedHttpPlatform):
    """Plays ElevenLabs' side of a call.

    `call_header` is the header to which the conversation id is mapped, "" for none.
    """

    name = "elevenlabs"
    hangup_tools = frozenset({"end_call", "transfer_to_agent", "transfer_to_number", "voicemail_detection"})
    system_tools = SYSTEM_TOOLS
    marks_duplicates_as_retries = True

    def __init__(
        self,
        script: CallScript,
        url: str,
        *,
        secret: str = "",
        model: str = DEFAULT_MODEL,
        call_id: str = "",
        call_header: str = CALL_HEADER,
    ) -> None:
        self.call_header = call_header
        super().__init__(script, url, call_id=call_id or f"conv_{token_hex(14)}", secret=secret, model=model)

    def build_url(self, url: str) -> str:
        return completions_url(url)

    def build_headers(self, call_id: str, retry_count: int) -> dict[str, str]:
        return {
            "user-agent": "voicegw-simulate/elevenlabs",
            "x-stainless-lang": "python",
            "x-stainless-async": "async:asyncio",
            "x-stainless-read-timeout": "600",
            "x-stainless-retry-count": str(retry_count),
            **({self.call_header: call_id} if self.call_header else {}),
        }

    def build_fields(self, call_id: str, *, unusual: bool) -> dict[str, Any]:
        extra = {"caller_id": self.script.caller, "channel": "phone"}
        sampling = {"temperature": None} if unusual else {"temperature": 0, "max_tokens": 1024}
        return {**sampling, "user_id": "caller-1", "elevenlabs_extra_body": extra}


def _find_bad_join(stream: RecordedStream) -> str | None:
    """Find first words that would run into the words after them when both are spoken."""
    found = split_first_words(stream)
    if found is None:
        return None
    first, more, pause = found
    bare = first.rstrip()
    if first != bare or (more[0].isspace() and not bare.endswith(ELLIPSES)):
        return None
    if bare.endswith(ELLIPSES):
        return f"{bare[-40:]!r} has no space after the dots"
    if bare.endswith(CLAUSE_ENDS):
        clashes = bare[-1].isascii() and more[0].isalnum()
        return f"{bare[-40:]!r} has no space after it, and {more[:20]!r} follows" if clashes else None
    clashes = bare[-1].isalnum() and more[0].isupper()
    return f"{bare[-40:]!r} runs into {more[:20]!r} after {pause:.2f} s" if clashes else None


JOINS = Check(
    "joins",
    "first words end in dots or a full stop and a space, so that the next words join well",
    check_streams(_find_bad_join, lambda stream: split_first_words(stream) is not None),
)
BEFORE_CASCADE = Check(
    "before-cascade",
    f"text or a tool call comes within {CASCADE_TIMEOUT:g} s, before the platform asks again",
    begins_within(CASCADE_TIMEOUT),
)
SimulatedElevenLabs.checks = (*CHAT, JOINS, BEFORE_CASCADE)

ELEVENLABS = HttpEntry(
    name="elevenlabs",
    make=lambda script, url, setup: SimulatedElevenLabs(
        script, url, secret=setup.secret, model=setup.model or DEFAULT_MODEL
    ),
)
