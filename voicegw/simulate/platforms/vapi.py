"""Vapi with a custom LLM: what it posts, and what it needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias
from urllib.parse import urlsplit
from uuid import uuid4

from voicegw.simulate.checks import Check
from voicegw.simulate.http_checks import CHAT, PAUSE, Streamed, alone, begins_within, probe, streams
from voicegw.simulate.http_platform import PATH, Poster, Probe, completions
from voicegw.simulate.probes import complete, streamed
from voicegw.simulate.recording import ENDS
from voicegw.simulate.script import Script, ToolTable

TIMEOUT = 20.0
"""Seconds: timeoutSeconds as it is if nobody changed it, to the first token."""
Metadata: TypeAlias = Literal["off", "variable", "destructured"]
"""Where the operator's metadata goes: nowhere, under its name, or among the fields of the request."""
MADE = "2026-01-05T09:30:00.000Z"
METADATA: Mapping[str, Any] = {"plan": "gold", "visits": 3, "tags": ["returning"], "branch": {"id": None}}
SYSTEM: Mapping[str, tuple[str, dict[str, Any]]] = {
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
"""The platform's own tools, offered where the script lists them."""


class Vapi(Poster):
    """Vapi's side of a call."""

    name = "vapi"
    farewells = frozenset({"endCall", "transferCall"})

    def __init__(
        self,
        script: Script,
        url: str,
        *,
        secret: str = "",
        model: str = "agent",
        call: str = "",
        metadata: Metadata = "variable",
    ) -> None:
        self.metadata = metadata
        super().__init__(script, url, call=call or str(uuid4()), secret=secret, model=model)

    def address(self, url: str) -> str:
        return completions(url, always=True)

    def headers(self, call: str, tries: int) -> dict[str, str]:
        return {
            "user-agent": "voicegw-simulate/vapi",
            "x-stainless-lang": "js",
            "x-stainless-runtime": "node",
            "x-stainless-retry-count": str(tries),
        }

    def fields(self, call: str, *, odd: bool) -> dict[str, Any]:
        sampling = {"temperature": 0.5, "max_tokens": 250}
        known = sampling | self._call(call) if odd or self.metadata != "off" else sampling
        if odd or self.metadata == "destructured":
            return {**METADATA, **known}
        return known if self.metadata == "off" else {**known, "metadata": dict(METADATA)}

    def _call(self, id: str) -> dict[str, Any]:
        customer = {"number": self.script.caller}
        called = {
            "id": "0c9e2a52-9c37-4a1e-8d53-6d3a9d3c9a10",
            "provider": "twilio",
            "number": self.script.called,
            "twilioAccountSid": "AC" + 32 * "0",
            "twilioAuthToken": 32 * "0",
        }
        call = {
            "id": id,
            "orgId": "7a1c7f0e-51a8-4d09-a1b7-2f8f5c1f6a11",
            "type": "inboundPhoneCall",
            "status": "in-progress",
            "assistantId": "4b8c7d1e-2a63-4f6c-9f0b-8f9e4a2d7c12",
            "createdAt": MADE,
            "customer": customer,
            "phoneNumberId": called["id"],
            "phoneCallProvider": "twilio",
            "assistantOverrides": {"variableValues": {"language": self.script.language}},
        }
        return {"call": call, "phoneNumber": called, "customer": customer}

    def tool(self, tool: ToolTable) -> dict[str, Any]:
        offered = super().tool(tool)
        if tool.name in SYSTEM:
            about, parameters = SYSTEM[tool.name]
            offered["function"] |= {"description": tool.description or about, "parameters": parameters}
        return offered

    def probes(self) -> Sequence[Probe]:
        return (
            self.beside("whole", complete, stream=False),
            self.beside("doubled-path", streamed, url=doubled(self.url)),
        )


def doubled(url: str) -> str:
    """The same address with the endpoint's path exactly twice."""
    parts = urlsplit(url)
    path = parts.path
    while path.endswith(PATH):
        path = path.removesuffix(PATH)
    return parts._replace(path=path + PATH + PATH).geturl()


def _unfinished(stream: Streamed) -> str | None:
    found = alone(stream)
    if found is None:
        return None
    first, _, pause = found
    held = pause >= PAUSE and not first.rstrip().endswith(ENDS)
    return f"{first.strip()[-40:]!r} is no clause and waits {pause:.2f} s for its end" if held else None


CLAUSE = Check(
    "clause",
    "first words that stand alone are a whole clause, or they wait for its end",
    streams(_unfinished, lambda stream: alone(stream) is not None),
)
IN_TIME = Check("in-time", f"something comes within {TIMEOUT:g} s, or the call fails", begins_within(TIMEOUT))
WHOLE = Check("whole", "a request without stream is answered in one piece of JSON", probe("whole"))
DOUBLED = Check("doubled-path", f"the address answers with {PATH} twice, too", probe("doubled-path"))
Vapi.checks = (*CHAT, CLAUSE, IN_TIME, WHOLE, DOUBLED)
