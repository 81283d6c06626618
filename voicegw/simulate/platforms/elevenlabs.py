"""ElevenLabs with a custom LLM: what it posts, and what it needs."""

from __future__ import annotations

from collections.abc import Mapping
from secrets import token_hex
from typing import Any

from voicegw.simulate.checks import Check
from voicegw.simulate.http_checks import CHAT, RecordedStream, split_first_words, begins_within, check_streams
from voicegw.simulate.http_platform import SimulatedHttpPlatform, completions_url
from voicegw.simulate.recording import CLAUSE_ENDS
from voicegw.simulate.script import CallScript, ScriptTool

CASCADE_TIMEOUT = 2.0
"""Seconds: the least that an operator can set before the same request is sent again."""
CALL_HEADER = "X-Voicegw-Call"
"""The header into which the operator mapped system__conversation_id."""
ELLIPSES = ("...", "…")


def _text(about: str) -> dict[str, str]:
    return {"type": "string", "description": about}


def _schema(*required: str, **properties: Any) -> dict[str, Any]:
    own = {"reason": _text("Why, for the record."), **properties}
    return {"type": "object", "properties": own, "required": list(required)}


SYSTEM_TOOLS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "end_call": ("End the call.", _schema("reason", message=_text("Last words to the caller."))),
    "language_detection": (
        "Change the language of the conversation.",
        _schema("reason", "language", language=_text("Code of the language.")),
    ),
    "transfer_to_agent": (
        "Hand the caller to another agent.",
        _schema("agent_number", agent_number={"type": "integer", "description": "Its number, from 0."}),
    ),
    "transfer_to_number": (
        "Hand the caller to a person.",
        _schema(
            *("transfer_number", "client_message", "agent_message"),
            transfer_number=_text("Number in E.164 form."),
            client_message=_text("What the caller hears."),
            agent_message=_text("What the person hears."),
        ),
    ),
    "skip_turn": ("Stay silent until the caller speaks again.", _schema()),
    "play_keypad_touch_tone": (
        "Press keys.",
        _schema("dtmf_tones", dtmf_tones=_text("Keys 0-9 * #, w for half a second's pause.")),
    ),
    "voicemail_detection": ("A mailbox answered.", _schema()),
}
"""The platform's own tools, offered where the script lists them."""


class SimulatedElevenLabs(SimulatedHttpPlatform):
    """ElevenLabs' side of a call. `header` is where the conversation's id is mapped to, "" for nowhere."""

    name = "elevenlabs"
    hangup_tools = frozenset({"end_call", "transfer_to_agent", "transfer_to_number", "voicemail_detection"})
    marks_duplicates_as_retries = True

    def __init__(
        self,
        script: CallScript,
        url: str,
        *,
        secret: str = "",
        model: str = "agent",
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

    def encode_tool(self, tool: ScriptTool) -> dict[str, Any]:
        offered = super().encode_tool(tool)
        if tool.name in SYSTEM_TOOLS:
            about, parameters = SYSTEM_TOOLS[tool.name]
            offered["function"] |= {"description": tool.description or about, "parameters": parameters}
        return offered


def _glued(stream: RecordedStream) -> str | None:
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
        clash = bare[-1].isascii() and more[0].isalnum()
        return f"{bare[-40:]!r} has no space after it, and {more[:20]!r} follows" if clash else None
    clash = bare[-1].isalnum() and more[0].isupper()
    return f"{bare[-40:]!r} runs into {more[:20]!r} after {pause:.2f} s" if clash else None


JOINS = Check(
    "joins",
    "first words end in dots or a full stop and a space, so that what follows joins well",
    check_streams(_glued, lambda stream: split_first_words(stream) is not None),
)
BEFORE_CASCADE = Check(
    "before-cascade",
    f"something comes within {CASCADE_TIMEOUT:g} s, before the platform asks again",
    begins_within(CASCADE_TIMEOUT),
)
SimulatedElevenLabs.checks = (*CHAT, JOINS, BEFORE_CASCADE)
