"""Vapi with a custom LLM: its requests and its checks. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias
from urllib.parse import urlsplit
from uuid import uuid4

from voicegw.simulate.checks import Check
from voicegw.simulate.http_checks import (
    CHAT,
    MIN_PAUSE,
    RecordedStream,
    begins_within,
    check_streams,
    from_probe,
    split_first_words,
)
from voicegw.simulate.http_platform import (
    COMPLETIONS_PATH,
    DEFAULT_MODEL,
    HttpEntry,
    Probe,
    SimulatedHttpPlatform,
    completions_url,
)
from voicegw.simulate.probes import check_completion, check_stream
from voicegw.simulate.recording import CLAUSE_ENDS
from voicegw.simulate.script import CallScript

FIRST_TOKEN_TIMEOUT = 20.0
"""Seconds to the first token: Vapi's default of timeoutSeconds."""
MetadataPlacement: TypeAlias = Literal["off", "variable", "destructured"]
"""The place of the operator's metadata: none, the field `metadata`, or fields of the request itself."""
CREATED_AT = "2026-01-05T09:30:00.000Z"
EXAMPLE_METADATA: Mapping[str, Any] = {
    "plan": "gold",
    "visits": 3,
    "tags": ["returning"],
    "branch": {"id": None},
}
SYSTEM_TOOLS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "endCall": ("End the call.", {"type": "object", "properties": {}}),
    "transferCall": (
        "Transfer the call.",
        {"type": "object", "properties": {"destination": {"type": "string"}}, "required": ["destination"]},
    ),
    "dtmf": (
        "Press keys.",
        {"type": "object", "properties": {"dtmf": {"type": "string"}}, "required": ["dtmf"]},
    ),
}
"""Vapi's own tools: description and parameters."""


class SimulatedVapi(SimulatedHttpPlatform):
    """Plays Vapi's side of a call; `metadata` is the place of the operator's metadata in each request."""

    name = "vapi"
    hangup_tools = frozenset({"endCall", "transferCall"})
    system_tools = SYSTEM_TOOLS

    def __init__(
        self,
        script: CallScript,
        url: str,
        *,
        secret: str = "",
        model: str = DEFAULT_MODEL,
        call_id: str = "",
        metadata: MetadataPlacement = "variable",
    ) -> None:
        self.metadata = metadata
        super().__init__(script, url, call_id=call_id or str(uuid4()), secret=secret, model=model)

    def build_url(self, url: str) -> str:
        return completions_url(url, always_append=True)

    def build_headers(self, call_id: str, retry_count: int) -> dict[str, str]:
        return {
            "user-agent": "voicegw-simulate/vapi",
            "x-stainless-lang": "js",
            "x-stainless-runtime": "node",
            "x-stainless-retry-count": str(retry_count),
        }

    def build_fields(self, call_id: str, *, unusual: bool) -> dict[str, Any]:
        sampling = {"temperature": 0.5, "max_tokens": 250}
        has_call = unusual or self.metadata != "off"
        fields = sampling | self._build_call_fields(call_id) if has_call else sampling
        if unusual or self.metadata == "destructured":
            return {**EXAMPLE_METADATA, **fields}
        return fields if self.metadata == "off" else {**fields, "metadata": dict(EXAMPLE_METADATA)}

    def _build_call_fields(self, call_id: str) -> dict[str, Any]:
        customer = {"number": self.script.caller}
        phone_number = {
            "id": "0c9e2a52-9c37-4a1e-8d53-6d3a9d3c9a10",
            "provider": "twilio",
            "number": self.script.called,
            "twilioAccountSid": "AC" + 32 * "0",
            "twilioAuthToken": 32 * "0",
        }
        call = {
            "id": call_id,
            "orgId": "7a1c7f0e-51a8-4d09-a1b7-2f8f5c1f6a11",
            "type": "inboundPhoneCall",
            "status": "in-progress",
            "assistantId": "4b8c7d1e-2a63-4f6c-9f0b-8f9e4a2d7c12",
            "createdAt": CREATED_AT,
            "customer": customer,
            "phoneNumberId": phone_number["id"],
            "phoneCallProvider": "twilio",
            "assistantOverrides": {"variableValues": {"language": self.script.language}},
        }
        return {"call": call, "phoneNumber": phone_number, "customer": customer}

    def build_probes(self) -> Sequence[Probe]:
        return (
            self.build_probe("whole", check_completion, stream=False),
            self.build_probe("doubled-path", check_stream, url=double_path(self.url)),
        )


def double_path(url: str) -> str:
    """Return the same URL with the path of the chat completions exactly twice."""
    parts = urlsplit(url)
    path = parts.path
    while path.endswith(COMPLETIONS_PATH):
        path = path.removesuffix(COMPLETIONS_PATH)
    return parts._replace(path=path + COMPLETIONS_PATH + COMPLETIONS_PATH).geturl()


def _find_unfinished_clause(stream: RecordedStream) -> str | None:
    found = split_first_words(stream)
    if found is None:
        return None
    first, _, pause = found
    if pause < MIN_PAUSE or first.rstrip().endswith(CLAUSE_ENDS):
        return None
    return f"{first.strip()[-40:]!r} is not a whole clause, and the rest follows {pause:.2f} s later"


CLAUSE = Check(
    "clause",
    "first words before a pause are a whole clause",
    check_streams(_find_unfinished_clause, lambda stream: split_first_words(stream) is not None),
)
IN_TIME = Check(
    "in-time",
    f"text or a tool call comes within {FIRST_TOKEN_TIMEOUT:g} s, or the call fails",
    begins_within(FIRST_TOKEN_TIMEOUT),
)
WHOLE = Check("whole", "a request without stream is answered by one JSON object", from_probe("whole"))
DOUBLED = Check(
    "doubled-path",
    f"the address with {COMPLETIONS_PATH} twice is answered, too",
    from_probe("doubled-path"),
)
SimulatedVapi.checks = (*CHAT, CLAUSE, IN_TIME, WHOLE, DOUBLED)

VAPI = HttpEntry(
    name="vapi",
    make=lambda script, url, setup: SimulatedVapi(
        script, url, secret=setup.secret, model=setup.model or DEFAULT_MODEL
    ),
)
