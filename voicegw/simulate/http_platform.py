"""Platforms that send HTTP requests, each with the whole conversation: their side, without any I/O.

Platforms that call over a websocket are in `voicegw.simulate.platform`.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from voicegw.simulate.checks import Check
from voicegw.simulate.platform import NO_DTMF, PlatformTraits, RegistryEntry, SimulationSetup
from voicegw.simulate.probes import ProbeFunction, check_refusal
from voicegw.simulate.recording import ActionSeen
from voicegw.simulate.script import CallScript, ScriptTool

COMPLETIONS_PATH = "/chat/completions"
DEFAULT_MODEL = "agent"
"""The model of a request if the operator names none."""
DEFAULT_TOOL_RESULT = '{"status":"success"}'
"""The result of a tool for which the script has none."""
WRONG_KEY = "not-the-key"
UNKNOWN_FIELDS: Mapping[str, Any] = {
    "x_unknown": {"deep": [None, {"a": 1.5}, []], "list": [[["nested"]]]},
    "thinking_budget": -1,
    "enable_reasoning_summary": "perhaps",
    "vendor.flag": False,
    "Ünïcode 🎈": "\u2028",
    "empty": {},
}
"""Fields that no API defines."""
UNKNOWN_HEADERS: Mapping[str, str] = {"x-unknown": "?1; q=0.5", "x-empty": "", "priority": "u=1, i"}
TOOL_HISTORY: Sequence[Mapping[str, Any]] = (
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": "call_old", "type": "function", "function": {"name": "look_up", "arguments": "{}"}}
        ],
    },
    {"role": "tool", "tool_call_id": "call_old", "content": [{"type": "text", "text": "Nothing found."}]},
)
"""A valid piece of history with null content, and with content in parts."""


@dataclass(frozen=True, slots=True)
class PlatformRequest:
    """One POST request."""

    url: str
    """The whole address."""
    headers: Mapping[str, str]
    """All headers, with the key."""
    body: bytes
    """JSON in UTF-8."""


@dataclass(frozen=True, slots=True)
class Probe:
    """A single request outside of the call. `evaluate` checks its answer for the check `item`.

    With `has_wrong_key`, the gateway has to refuse it.
    """

    item: str
    request: PlatformRequest
    evaluate: ProbeFunction
    has_wrong_key: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpEntry(RegistryEntry):
    """A platform that sends HTTP requests. `make` gets the URL that an operator enters at the platform."""

    make: Callable[[CallScript, str, SimulationSetup], SimulatedHttpPlatform]


class SimulatedHttpPlatform(ABC):
    """Plays one platform's side of one call.

    A subclass implements `build_url`, `build_headers` and `build_fields`. The class keeps the conversation:
    `ask` begins a turn, `follow_up` and `record_heard` add the answer. `secret` is the gateway's API key, ""
    for none; `call_id` is the platform's id of the call; `model` is the model of each request.
    """

    name = ""
    """The platform's name on the command line."""
    checks: Sequence[Check] = ()
    """The platform's checklist."""
    # It closes the connection of an answer that it no longer wants.
    traits = PlatformTraits(NO_DTMF, stops_playback=True, repeats_as_new_request=True)
    hangup_tools: frozenset[str] = frozenset()
    """Names of the tools after which the platform hangs up."""
    system_tools: Mapping[str, tuple[str, dict[str, Any]]] = {}
    """The platform's own tools, by name: the description, unless the script has one, and the parameters.

    They are offered only if the script lists them.
    """
    marks_duplicates_as_retries = False
    """Does it mark a request as a retry if the first one is still being answered?"""

    def __init__(
        self, script: CallScript, url: str, *, call_id: str, secret: str = "", model: str = DEFAULT_MODEL
    ) -> None:
        self.script = script  # the caller's turns, the prompt and the tools
        self.url = self.build_url(url)
        self.call_id = call_id
        self.secret = secret
        self.model = model
        self.offered_tools = frozenset(tool.name for tool in script.tools)  # names
        # The conversation, as messages of chat completions.
        self.messages: list[dict[str, Any]] = [{"role": "system", "content": script.prompt}]
        if script.greeting:
            self.messages.append({"role": "assistant", "content": script.greeting})
        self._tool_results = {tool.name: tool.result for tool in script.tools if tool.result is not None}
        self._turn_start = len(self.messages)
        self._last_request = PlatformRequest(self.url, {}, b"")

    # The differences between platforms

    @abstractmethod
    def build_url(self, url: str) -> str:
        """Return the URL of the requests; `url` is the one that an operator enters."""

    @abstractmethod
    def build_headers(self, call_id: str, retry_count: int) -> dict[str, str]:
        """Return the platform's own headers, without the key; `retry_count` is 0 for a first request."""

    @abstractmethod
    def build_fields(self, call_id: str, *, unusual: bool) -> dict[str, Any]:
        """Return the fields of the body besides model, messages, tools and stream.

        With `unusual`, they have forms that are valid but rare.
        """

    def build_probes(self) -> Sequence[Probe]:
        """Return the requests that are tried after the call."""
        return ()

    def encode_tool(self, tool: ScriptTool) -> dict[str, Any]:
        """Return a tool as an entry of the request's `tools`."""
        default, parameters = self.system_tools.get(tool.name, ("", tool.parameters))
        description = tool.description or default
        function = {"name": tool.name, "description": description, "parameters": parameters}
        return {"type": "function", "function": function}

    # The conversation

    def ask(self, text: str | None, *, unusual: bool = False) -> PlatformRequest:
        """Return the request of a new turn: the caller said `text`, or, with None, was silent for a while.

        With `unusual`, it has unknown fields and headers, and messages in valid but rare forms.
        """
        if text is not None:
            self.messages.append({"role": "user", "content": text})
        self._turn_start = len(self.messages)
        messages = _use_rare_forms(self.messages) if unusual else self.messages
        self._last_request = self._build_request(messages, unusual=unusual)
        return self._last_request

    def ask_partial(self, text: str) -> PlatformRequest:
        """Return the request for a partial transcript; the conversation stays as it is."""
        return self._build_request([*self.messages, {"role": "user", "content": text}])

    def repeat(self, *, after_loss: bool) -> PlatformRequest:
        """Return the last request once more; with `after_loss`, because its connection was lost."""
        retry_count = int(after_loss or self.marks_duplicates_as_retries)
        headers = self.build_headers(self.call_id, retry_count)
        marks = {name: value for name, value in headers.items() if "retry" in name}
        last = self._last_request
        return PlatformRequest(last.url, {**last.headers, **marks}, last.body)

    def follow_up(self, text: str, calls: Sequence[ActionSeen]) -> PlatformRequest | None:
        """Add a complete answer to the conversation, and run the tools that it calls.

        Returns the request with the tools' results, in the same turn; None if none follows.
        """
        if not calls:
            self.record_heard(text)
            return None
        with_ids = [(call.id or f"call_{number}", call) for number, call in enumerate(calls)]
        tool_calls = [_encode_tool_call(*pair) for pair in with_ids]
        self.messages.append({"role": "assistant", "content": text or None, "tool_calls": tool_calls})
        for id, call in with_ids:
            result = self._tool_results.get(call.name, DEFAULT_TOOL_RESULT)
            self.messages.append({"role": "tool", "tool_call_id": id, "content": result})
        if self.is_hangup(calls) or not any(call.name in self._tool_results for call in calls):
            return None
        self._last_request = self._build_request(self.messages)
        return self._last_request

    def is_hangup(self, calls: Sequence[ActionSeen]) -> bool:
        """Does the platform hang up after these tool calls?"""
        return any(call.name in self.hangup_tools for call in calls)

    def record_heard(self, text: str) -> None:
        """Replace the turn's answer by the part that the caller heard."""
        last = self.messages[-1]
        if len(self.messages) > self._turn_start and last["role"] == "assistant":
            self.messages.pop()
        if text.strip():
            self.messages.append({"role": "assistant", "content": text})

    # Requests

    def _build_request(
        self, messages: Sequence[Mapping[str, Any]], *, unusual: bool = False
    ) -> PlatformRequest:
        headers = {**self._build_all_headers(self.call_id), **(UNKNOWN_HEADERS if unusual else {})}
        return PlatformRequest(self.url, headers, self.encode_body(messages, self.call_id, unusual=unusual))

    def _build_all_headers(self, call_id: str, secret: str | None = None) -> dict[str, str]:
        key = self.secret if secret is None else secret
        return {
            "content-type": "application/json",
            "accept": "application/json",
            **self.build_headers(call_id, 0),
            "accept-encoding": "identity",
            **({"Authorization": f"Bearer {key}"} if key else {}),
        }

    def encode_body(
        self,
        messages: Sequence[Mapping[str, Any]],
        call_id: str,
        *,
        unusual: bool = False,
        stream: bool = True,
    ) -> bytes:
        """Return the body of a request with these messages, as JSON in UTF-8."""
        fields: dict[str, Any] = {"model": self.model, "messages": list(messages), "stream": stream}
        if self.script.tools:
            fields["tools"] = [self.encode_tool(tool) for tool in self.script.tools]
        fields |= self.build_fields(call_id, unusual=unusual)
        if unusual:
            fields |= UNKNOWN_FIELDS
        return json.dumps(fields, ensure_ascii=False).encode("utf-8", "replace")

    def build_probe(
        self,
        item: str,
        evaluate: ProbeFunction,
        *,
        url: str = "",
        secret: str | None = None,
        stream: bool = True,
    ) -> Probe:
        """Return a probe, with its own call id, for the check `item`.

        `url` and `secret` replace those of the call; a replaced secret is taken for a wrong key.
        """
        call_id = f"{self.call_id[:-4]}beef"
        question = next((step.say for step in self.script.turns if step.say), "Hello?")
        messages = [
            {"role": "system", "content": self.script.prompt},
            {"role": "user", "content": question},
        ]
        body = self.encode_body(messages, call_id, stream=stream)
        request = PlatformRequest(url or self.url, self._build_all_headers(call_id, secret), body)
        return Probe(item, request, evaluate, has_wrong_key=secret is not None)

    def build_wrong_key_probe(self) -> Probe:
        """Return a request with a wrong key."""
        return self.build_probe("wrong-key", check_refusal, secret=WRONG_KEY)


def completions_url(url: str, *, always_append: bool = False) -> str:
    """Return the URL of the chat completions below `url`.

    A `url` that ends with their path stays as it is, unless `always_append`.
    """
    parts = urlsplit(url)
    path = parts.path.rstrip("/")
    is_complete = path.endswith(COMPLETIONS_PATH) and not always_append
    return parts._replace(path=path if is_complete else path + COMPLETIONS_PATH).geturl()


def _encode_tool_call(id: str, call: ActionSeen) -> dict[str, Any]:
    return {"id": id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _use_rare_forms(messages: Sequence[dict[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the same conversation in forms that are valid and rare."""
    first, *others = messages
    in_parts = [
        {**message, "content": [{"type": "text", "text": message["content"]}]}
        if message["role"] == "user"
        else message
        for message in others
    ]
    return [first, *TOOL_HISTORY, *in_parts]
