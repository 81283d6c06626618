"""A platform that asks by HTTP requests, each with the whole conversation: its side, without any I/O."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from voicegw.simulate.checks import Check
from voicegw.simulate.platform import KEYLESS, Ways
from voicegw.simulate.probes import Look, refused
from voicegw.simulate.recording import Acted
from voicegw.simulate.script import Script, ToolTable

PATH = "/chat/completions"
SUCCESS = '{"status":"success"}'
"""The result of a tool for which the script has none."""
FALSE_KEY = "not-the-key"
ODD: Mapping[str, Any] = {
    "x_unknown": {"deep": [None, {"a": 1.5}, []], "list": [[["nested"]]]},
    "thinking_budget": -1,
    "enable_reasoning_summary": "perhaps",
    "vendor.flag": False,
    "Ünïcode 🎈": "\u2028",
    "empty": {},
}
"""Fields that nobody knows."""
ODD_HEADERS: Mapping[str, str] = {"x-unknown": "?1; q=0.5", "x-empty": "", "priority": "u=1, i"}
LOOKED_UP: Sequence[Mapping[str, Any]] = (
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": "call_old", "type": "function", "function": {"name": "look_up", "arguments": "{}"}}
        ],
    },
    {"role": "tool", "tool_call_id": "call_old", "content": [{"type": "text", "text": "Nothing found."}]},
)
"""A legal piece of history with null content, and with content in parts."""


@dataclass(frozen=True, slots=True)
class Request:
    """One POST."""

    url: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Probe:
    """A request beside the call, for one entry of the checklist; `forged`: with a wrong key."""

    item: str
    request: Request
    look: Look
    forged: bool = False


class Poster(ABC):
    """One platform's side of one call. A platform says how its `address`, `headers` and `fields` look.

    It keeps the conversation: `ask` begins a turn, `follow` and `heard` tell what came of it. `secret` is the
    key that the gateway wants, "" for none; `call` is the call's id.
    """

    name = ""
    checks: Sequence[Check] = ()
    ways = Ways(KEYLESS, mutes=True, renews=True)  # it hangs up on what it wants no longer
    farewells: frozenset[str] = frozenset()
    """Tools after which the platform hangs up."""

    def __init__(
        self, script: Script, url: str, *, call: str, secret: str = "", model: str = "agent"
    ) -> None:
        self.script = script
        self.url = self.address(url)
        self.call = call
        self.secret = secret
        self.model = model
        self.offered = frozenset(tool.name for tool in script.tools)
        self.messages: list[dict[str, Any]] = [{"role": "system", "content": script.prompt}]
        if script.greeting:
            self.messages.append({"role": "assistant", "content": script.greeting})
        self._results = {tool.name: tool.result for tool in script.tools if tool.result is not None}
        self._turn = len(self.messages)
        self._last = Request(self.url, {}, b"")

    # How a platform differs

    @abstractmethod
    def address(self, url: str) -> str:
        """Where it posts to, if an operator entered `url`."""

    @abstractmethod
    def headers(self, call: str, tries: int) -> dict[str, str]:
        """Its headers for a request that was sent `tries` times before, but for the key."""

    @abstractmethod
    def fields(self, call: str, *, odd: bool) -> dict[str, Any]:
        """What it sends besides model, messages, tools and stream."""

    def probes(self) -> Sequence[Probe]:
        """What it tries after the call."""
        return ()

    def tool(self, tool: ToolTable) -> dict[str, Any]:
        """A tool as it is offered."""
        function = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
        return {"type": "function", "function": function}

    # The conversation

    def ask(self, said: str | None, *, odd: bool = False) -> Request:
        """The caller said this, or nothing for a while; `odd` with what makes no sense."""
        if said is not None:
            self.messages.append({"role": "user", "content": said})
        self._turn = len(self.messages)
        self._last = self._request(_oddly(self.messages) if odd else self.messages, odd=odd)
        return self._last

    def partial(self, words: str) -> Request:
        """A guess of what the caller is saying; it leaves no trace in the conversation."""
        return self._request([*self.messages, {"role": "user", "content": words}])

    def again(self, *, lost: bool) -> Request:
        """The last request once more; `lost`: its connection died."""
        tries = int(lost or self.marks_twins)
        marks = {name: value for name, value in self.headers(self.call, tries).items() if "retry" in name}
        return Request(self._last.url, {**self._last.headers, **marks}, self._last.body)

    marks_twins = False
    """Is a request that is sent while the same still runs marked as a retry?"""

    def follow(self, text: str, calls: Sequence[Acted]) -> Request | None:
        """The answer came to its end: what is posted next in the same turn, if tools were run."""
        if not calls:
            self.heard(text)
            return None
        named = [(call.id or f"call_{number}", call) for number, call in enumerate(calls)]
        self.messages.append(
            {"role": "assistant", "content": text or None, "tool_calls": [_called(*pair) for pair in named]}
        )
        for id, call in named:
            result = self._results.get(call.name, SUCCESS)
            self.messages.append({"role": "tool", "tool_call_id": id, "content": result})
        if self.ended(calls) or not any(call.name in self._results for call in calls):
            return None
        self._last = self._request(self.messages)
        return self._last

    def ended(self, calls: Sequence[Acted]) -> bool:
        """Does the platform hang up after these?"""
        return any(call.name in self.farewells for call in calls)

    def heard(self, text: str) -> None:
        """This much of the turn's answer reached the caller."""
        last = self.messages[-1]
        if len(self.messages) > self._turn and last["role"] == "assistant":
            self.messages.pop()
        if text.strip():
            self.messages.append({"role": "assistant", "content": text})

    # Requests

    def _request(self, messages: Sequence[Mapping[str, Any]], *, odd: bool = False) -> Request:
        headers = {**self._headers(self.call), **(ODD_HEADERS if odd else {})}
        return Request(self.url, headers, self.body(messages, self.call, odd=odd))

    def _headers(self, call: str, secret: str | None = None) -> dict[str, str]:
        key = self.secret if secret is None else secret
        own = {"content-type": "application/json", "accept": "application/json", **self.headers(call, 0)}
        return {**own, "accept-encoding": "identity", **({"Authorization": f"Bearer {key}"} if key else {})}

    def body(
        self, messages: Sequence[Mapping[str, Any]], call: str, *, odd: bool = False, stream: bool = True
    ) -> bytes:
        """A request's body."""
        asked: dict[str, Any] = {"model": self.model, "messages": list(messages), "stream": stream}
        if self.script.tools:
            asked["tools"] = [self.tool(tool) for tool in self.script.tools]
        extra = {**self.fields(call, odd=odd), **(ODD if odd else {})}
        return json.dumps({**asked, **extra}, ensure_ascii=False).encode("utf-8", "replace")

    def beside(
        self, item: str, look: Look, *, url: str = "", secret: str | None = None, stream: bool = True
    ) -> Probe:
        """A request of a caller of its own, with another `secret` if one is given."""
        call = f"{self.call[:-4]}beef"
        said = next((step.say for step in self.script.turns if step.say), "Hello?")
        messages = [{"role": "system", "content": self.script.prompt}, {"role": "user", "content": said}]
        body = self.body(messages, call, stream=stream)
        request = Request(url or self.url, self._headers(call, secret), body)
        return Probe(item, request, look, forged=secret is not None)

    def forged(self) -> Probe:
        """A request with a wrong key."""
        return self.beside("wrong-key", refused, secret=FALSE_KEY)


def completions(url: str, *, always: bool = False) -> str:
    """The address of the endpoint below `url`; `always`: also if it is that of the endpoint already."""
    parts = urlsplit(url)
    path = parts.path.rstrip("/")
    return parts._replace(path=path if path.endswith(PATH) and not always else path + PATH).geturl()


def _called(id: str, call: Acted) -> dict[str, Any]:
    return {"id": id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _oddly(messages: Sequence[dict[str, Any]]) -> list[Mapping[str, Any]]:
    """The same conversation in forms that are legal and rare."""
    first, *others = messages
    parts = [
        {**message, "content": [{"type": "text", "text": message["content"]}]}
        if message["role"] == "user"
        else message
        for message in others
    ]
    return [first, *LOOKED_UP, *parts]
