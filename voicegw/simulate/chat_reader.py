"""Reads one streamed chat completion, byte for byte, as the strictest client of a platform would. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from voicegw.simulate.recording import Acted, Done, Heard, Words, Wrong
from voicegw.simulate.sse_lint import END, Found, Lint
from voicegw.wire.json import loads

MOST_WRONGS = 50
"""Different things that are told of one stream."""
REASONS = frozenset({"stop", "length", "tool_calls", "content_filter"})
CUT = frozenset({"tool_calls", "length", "content_filter"})
"""Reasons that an answer with tool calls may have."""


@dataclass(slots=True)
class Fragments:
    """One tool call as far as it came."""

    id: str = ""
    name: str = ""
    arguments: str = ""


class Reading:
    """One stream. It is fed with bytes, wherever the network cut them, and told when the body ended.

    `offered` are the tools that the request named, `turn` the number of the turn that the words belong to.
    `began` tells that words or a tool call came, `over` that `[DONE]` did. Nothing it is fed makes it raise.
    """

    def __init__(self, offered: Collection[str] = (), turn: int | None = None) -> None:
        self.turn = turn
        self.offered = offered
        self.began = False
        self.reason: str | None = None
        self._lint = Lint()
        self._failed = False
        self._envelope: dict[str, Any] = {}
        self._calls: list[Fragments] = []
        self._acted = False
        self._told: set[Wrong] = set()
        self._out: list[Heard] = []

    @property
    def over(self) -> bool:
        return self._lint.over

    def feed(self, data: bytes) -> list[Heard]:
        """What these bytes mean, together with those before."""
        self._take(self._lint.feed(data))
        return self._taken()

    def end(self) -> list[Heard]:
        """The body ended, properly."""
        self._take(self._lint.end())
        if not self.over:
            self._wrong("done", "the body ended without [DONE]")
            self._finish(said=self.reason is not None)
        return self._taken()

    def _take(self, found: list[Found]) -> None:
        for event in found:
            if isinstance(event, Wrong):
                self._wrong(event.item, event.why)
            elif event == END:
                self._finish(said=True)
            else:
                self._chunk(event)

    def _taken(self) -> list[Heard]:
        out, self._out = self._out, []
        return out

    def _wrong(self, item: str, why: str) -> None:
        wrong = Wrong(item, why)
        if wrong not in self._told and len(self._told) < MOST_WRONGS:
            self._told.add(wrong)
            self._out.append(wrong)

    def _finish(self, *, said: bool) -> None:
        """There are no more chunks; `said`: was that made known?"""
        self._complete()
        if self.reason is None:
            self._wrong("finish", "no chunk has a finish_reason")
        elif self._calls and self.reason not in CUT:
            self._wrong("finish", f"finish_reason {self.reason!r} though tools are called")
        elif not self._calls and self.reason == "tool_calls":
            self._wrong("finish", "finish_reason 'tool_calls' though no tool is called")
        if said and not self._failed:
            self._out.append(Done(self.turn))

    # Chunks

    def _chunk(self, event: bytes) -> None:
        try:
            chunk = loads(event)
        except ValueError:
            return self._wrong("chunks", "an event that is no JSON")
        if not isinstance(chunk, dict):
            return self._wrong("chunks", "an event that is no JSON object")
        if chunk.get("error"):
            self._failed = True
            return self._wrong("chunks", "an error event, which ends the answer for every client")
        self._judge_envelope(chunk)
        choices = chunk.get("choices")
        if not isinstance(choices, list):
            return self._wrong("chunks", "choices is no array")
        for choice in choices:
            self._choice(choice)

    def _judge_envelope(self, chunk: dict[str, Any]) -> None:
        right = {
            "id": _filled(chunk.get("id")),
            "object": chunk.get("object") == "chat.completion.chunk",
            "created": _whole(chunk.get("created")),
            "model": _filled(chunk.get("model")),
        }
        for key, fine in right.items():
            if not fine:
                self._wrong("chunks", f"{key} is missing or not what it must be")
            elif self._envelope.setdefault(key, chunk[key]) != chunk[key]:
                self._wrong("chunks", f"{key} changes within the answer")

    def _choice(self, choice: Any) -> None:
        if not isinstance(choice, dict):
            return self._wrong("chunks", "choices[] is no object")
        if not _whole(choice.get("index")) or choice["index"] != 0:
            self._wrong("chunks", "choices[].index is not 0")
        delta = choice.get("delta")
        if isinstance(delta, dict):
            self._delta(delta)
        else:
            self._wrong("chunks", "choices[].delta is no object")
        if (reason := choice.get("finish_reason")) is not None:
            self._end_with(reason)

    def _delta(self, delta: dict[str, Any]) -> None:
        content, calls = delta.get("content"), delta.get("tool_calls")
        if delta.get("role") not in (None, "assistant"):
            self._wrong("chunks", "delta.role is not 'assistant'")
        if isinstance(content, str):
            self._words(content)
        elif content is not None:
            self._wrong("chunks", "delta.content is neither text nor null")
        if delta.get("function_call"):
            self._wrong("tools", "delta.function_call, which platforms do not read; use tool_calls")
        if isinstance(calls, list):
            for call in calls:
                self._fragment(call)
        elif calls is not None:
            self._wrong("tools", "delta.tool_calls is no array")

    def _words(self, text: str) -> None:
        if not text:
            return
        if self.reason is not None:
            self._wrong("finish", "words after the chunk with the finish_reason")
        self.began = self.began or not text.isspace()
        self._out.append(Words(self.turn, text))

    def _end_with(self, reason: Any) -> None:
        if not isinstance(reason, str) or reason not in REASONS:
            self._wrong("finish", "a finish_reason that nobody knows")
        elif self.reason is not None:
            self._wrong("finish", "more than one chunk with a finish_reason")
        self.reason = reason if isinstance(reason, str) else "stop"
        self._complete()

    # Tool calls

    def _fragment(self, call: Any) -> None:
        if not isinstance(call, dict):
            return self._wrong("tools", "delta.tool_calls[] is no object")
        self.began = True
        if self.reason is not None:
            self._wrong("finish", "a tool call after the chunk with the finish_reason")
        index = call.get("index")
        if not isinstance(index, int) or not _whole(index) or not 0 <= index <= len(self._calls):
            return self._wrong("tools", "tool_calls[].index does not count from 0 without gaps")
        if index == len(self._calls):
            self._calls.append(Fragments())
        if call.get("type") not in (None, "function"):
            self._wrong("tools", "tool_calls[].type is not 'function'")
        function = call.get("function")
        self._gather(self._calls[index], call.get("id"), function if isinstance(function, dict) else {})

    def _gather(self, known: Fragments, id: Any, function: dict[str, Any]) -> None:
        name, arguments = function.get("name"), function.get("arguments")
        if any(piece is not None and not isinstance(piece, str) for piece in (id, name, arguments)):
            return self._wrong("tools", "id, name and arguments of a tool call must be text")
        if (id and known.id) or (name and known.name):
            self._wrong("tools", "id or name of a tool call comes more than once; clients join them")
        known.id, known.name = known.id or id or "", known.name or name or ""
        known.arguments += arguments or ""

    def _complete(self) -> None:
        """The tool calls are whole."""
        if self._acted:
            return
        self._acted = True
        ids = [call.id for call in self._calls]
        if "" in ids or len(set(ids)) < len(ids):
            self._wrong("tools", "tool calls need an id of their own")
        for call in self._calls:
            if call.name not in self.offered:
                self._wrong("tools", f"the request offers no tool {call.name[:40]!r}")
            if not _object(call.arguments):
                self._wrong("tools", "the arguments of a tool call are no JSON object; none are {}")
            self._out.append(Acted(self.turn, call.name, call.arguments, call.id))


def _filled(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _object(text: str) -> bool:
    try:
        return isinstance(loads(text.encode("utf-8", "replace")), dict)
    except ValueError:
        return False
