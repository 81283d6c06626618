"""Decoder for chat-completions responses: chunks of a stream, or one body, become events. Pure.

It is lenient, because many servers deviate from the protocol: `finish_reason`, `index`, an id or `[DONE]`
may be missing, an error may be a text, a tool call may come whole or in pieces. `request` is the other half.

Source: OpenAI's API reference, "Chat completion chunk object".
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import orjson

from voicegw.agents.client.error_body import REPORTED_ERROR, error_from_body, error_from_object
from voicegw.agents.client.json_values import decode_object
from voicegw.agents.tool_calls import ToolCallBuilder
from voicegw.errors import AgentError, AgentProtocolError
from voicegw.events import Activity, Event, Finish, Reason, Usage
from voicegw.wire.sse import ServerSentEvent

FINISH_REASONS: Mapping[str, Reason] = {
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}
"""The reason of the answer's end for each `finish_reason`; any other one means "stop"."""
TEMPLATE_CHUNKS = (2, 3, 8)
"""The text chunks of a stream from which a template is taken. The first one has a role; others may differ."""
TEMPLATE_INTERVAL = 16
"""Every so many text chunks that do not fit the template, a new one is taken: some servers put the time into
each chunk."""
PROBE = b'"\\u0000 probe"'
"""A JSON string that no server sends, to try a template with."""


class ChatChunkDecoder:
    """Turns the chunks of one streamed answer into events.

    `id_prefix` begins the ids of tool calls that came without one. `server_runs_tools`: the server runs the
    tools that it calls, so a call becomes an `Activity`. `done` says that the stream is over: `[DONE]` came.

    The chunks of most streams differ only in their text. The decoder keeps the bytes before and after the
    text as a template. In a chunk that fits, it parses the text alone: an eighth of the usual cost.
    """

    __slots__ = (
        "_call",
        "_call_count",
        "_call_index",
        "_id_prefix",
        "_reason",
        "_server_runs_tools",
        "_template",
        "_text_chunks",
        "_usage",
        "done",
    )

    def __init__(self, id_prefix: str = "call", *, server_runs_tools: bool = False) -> None:
        self._id_prefix = id_prefix
        self._server_runs_tools = server_runs_tools
        self.done = False
        self._call: ToolCallBuilder | None = None
        self._call_index: int | None = None
        self._call_count = 0
        self._reason: Reason | None = None
        self._usage: Usage | None = None
        self._template = (b"", b"")  # the bytes before and after the text
        self._text_chunks = 0

    @property
    def complete(self) -> bool:
        """Whether nothing is missing even if the connection breaks now."""
        return self.done or self._reason is not None

    def feed(self, sse: ServerSentEvent) -> list[Event]:
        """Return the events of one server-sent event: text at once, a tool call when it is whole.

        Raises `AgentProtocolError` for data that is no chunk, and the `AgentError` that the server reports.
        """
        name, data = sse
        before, after = self._template
        if before and data.startswith(before) and data.endswith(after) and not (name or self.done):
            text = _decode_text(data[len(before) : len(data) - len(after)])
            if text:
                return [text]
        if name == "error":
            raise error_from_body(data)
        if self.done or name not in ("", "message") or not data:
            return []
        if data == b"[DONE]":
            self.done = True
            return []
        events = self._decode_chunk(decode_object(data, "a chunk"))
        if len(events) == 1 and type(events[0]) is str:
            self._text_chunks += 1
            if self._text_chunks in TEMPLATE_CHUNKS or not self._text_chunks % TEMPLATE_INTERVAL:
                self._take_template(data, events[0])
        return events

    def _take_template(self, data: bytes, text: str) -> None:
        """Keep the bytes around `text` as the template, if a trial with another text decodes to that text."""
        before, _, after = data.partition(orjson.dumps(text))
        trial = ChatChunkDecoder()
        with suppress(AgentError):  # the bytes that equal the text may be another field
            if trial._decode_chunk(decode_object(before + PROBE + after, "a chunk")) == [orjson.loads(PROBE)]:
                has_more = trial.complete or trial._usage or trial._call
                self._template = (b"", b"") if has_more else (before, after)

    def end(self) -> list[Event]:
        """Return what remains after the stream: a tool call, the usage, and the reason if one came.

        Raises `AgentProtocolError` if the tool call is incomplete.
        """
        events: list[Event] = []
        self._finish_call(events)
        if self._usage is not None:
            events.append(self._usage)
        if self._reason is not None:
            events.append(Finish(self._corrected_reason(self._reason)))
        return events

    def _corrected_reason(self, reason: Reason) -> Reason:
        """Correct the reason: some servers say "stop" after tool calls, some "tool_calls" without any."""
        if reason in ("stop", "tool_calls"):
            return "tool_calls" if self._call_count else "stop"
        return reason

    def _decode_chunk(self, chunk: dict[str, Any]) -> list[Event]:
        events: list[Event] = []
        try:
            if error := chunk.get("error"):
                raise error_from_object(error)
            if choices := chunk.get("choices"):
                self._decode_choice(choices[0], events)
            if usage := chunk.get("usage"):
                self._usage = _decode_usage(usage)
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise AgentProtocolError(f"a chunk of an unknown shape: {error!r}") from error
        return events

    def _decode_choice(self, choice: dict[str, Any], events: list[Event]) -> None:
        if delta := choice.get("delta"):
            if text := delta.get("content") or delta.get("refusal"):
                events.append(text if type(text) is str else _join_parts(text))
            if fragments := delta.get("tool_calls"):
                for fragment in fragments:
                    self._add_fragment(fragment, events)
            if function := delta.get("function_call"):
                self._add_fragment({"index": 0, "function": function}, events)
        if reason := choice.get("finish_reason"):
            if reason == "error":
                raise AgentError(REPORTED_ERROR)
            self._finish_call(events)
            self._reason = FINISH_REASONS.get(reason, "stop")

    def _add_fragment(self, fragment: dict[str, Any], events: list[Event]) -> None:
        """Add a piece of a tool call. A piece of another call ends the call before."""
        function = fragment.get("function") or {}
        index = fragment.get("index")
        id, name = str(fragment.get("id") or ""), str(function.get("name") or "")
        call = self._call
        if call is None or self._begins_another_call(call, index, id, name):
            self._finish_call(events)
            self._call_index = index
            call = self._call = ToolCallBuilder()
        if self._server_runs_tools and name and not call.name:
            events.append(Activity(name))
        call.id = call.id or id
        call.name = call.name or name
        if arguments := function.get("arguments"):
            call.add_arguments(arguments if isinstance(arguments, str) else orjson.dumps(arguments).decode())

    def _begins_another_call(self, call: ToolCallBuilder, index: int | None, id: str, name: str) -> bool:
        """Whether a piece belongs to another call; its index and id may be missing or repeated."""
        if index is not None and index != self._call_index:
            return True
        if id and call.id:
            return id != call.id
        return index is None and bool(name and call.name)

    def _finish_call(self, events: list[Event]) -> None:
        call, self._call = self._call, None
        if call is not None and not self._server_runs_tools:
            self._call_count += 1
            events.append(call.build(f"{self._id_prefix}_{self._call_count}"))


def decode_completion(
    body: bytes, id_prefix: str = "call", *, server_runs_tools: bool = False
) -> list[Event]:
    """Return the events of an answer that came as one JSON body; for the arguments see `ChatChunkDecoder`.

    Raises `AgentProtocolError` for a body that is no completion, and the error that the server reports.
    """
    completion = decode_object(body, "an answer")
    if error := completion.get("error"):
        raise error_from_object(error)
    decoder = ChatChunkDecoder(id_prefix, server_runs_tools=server_runs_tools)
    try:
        choice = completion["choices"][0]
        calls = choice["message"].get("tool_calls") or ()
        calls = [{**call, "index": index} for index, call in enumerate(calls)]
        choice = {**choice, "delta": {**choice["message"], "tool_calls": calls}}
    except (AttributeError, LookupError, TypeError) as error:
        raise AgentProtocolError(f"an answer of an unknown shape: {error!r}") from error
    return [*decoder._decode_chunk({**completion, "choices": [choice]}), *decoder.end()]


def decode_models(body: bytes) -> tuple[str, ...]:
    """Return the ids in a list of models. Raises `AgentProtocolError` for any other body."""
    try:
        return tuple(str(model["id"]) for model in decode_object(body, "a list of models")["data"])
    except (LookupError, TypeError) as error:
        raise AgentProtocolError(f"a list of models of an unknown shape: {error!r}") from error


def _decode_text(literal: bytes) -> str | None:
    """Return the text that a JSON string stands for; None for anything else."""
    try:
        text = orjson.loads(literal)
    except orjson.JSONDecodeError:
        return None
    return text if type(text) is str else None


def _join_parts(parts: Any) -> str:
    """Return the text of content that came as a list of parts. Raises TypeError if it is no list."""
    if type(parts) is not list:
        raise TypeError(f"content is {type(parts).__name__}")
    return "".join(part if isinstance(part, str) else part.get("text") or "" for part in parts)


def _decode_usage(usage: dict[str, Any]) -> Usage:
    return Usage(
        prompt=int(usage.get("prompt_tokens") or 0),
        completion=int(usage.get("completion_tokens") or 0),
        cached=int((usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0),
        reasoning=int((usage.get("completion_tokens_details") or {}).get("reasoning_tokens") or 0),
    )
