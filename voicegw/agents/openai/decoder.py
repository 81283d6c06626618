"""Decoder for chat-completions responses: chunks of a stream, or one body, become events. Pure.

It is lenient, because many servers deviate from the protocol: `finish_reason`, `index`, an id or `[DONE]`
may be missing, an error may be a text, a tool call may come whole or in pieces. `request` is the other half.

Source: OpenAI's API reference, "Chat completion chunk object".
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson

from voicegw.agents.client.error_body import error_from_body, error_from_object, find_error
from voicegw.agents.client.json_values import decode_object
from voicegw.agents.finish_reasons import AnswerState, correct_reason, is_cut, parse_finish_reason
from voicegw.agents.openai.answer_end import AnswerEnd
from voicegw.agents.openai.text_template import TextTemplate, find_template
from voicegw.agents.tool_calls import ToolCallGatherer
from voicegw.errors import AgentError, AgentProtocolError
from voicegw.events import REASONING, Activity, Event, Finish, Usage
from voicegw.wire.json import join_surrogates
from voicegw.wire.sse import ServerSentEvent

REASONING_FIELDS = ("reasoning_content", "reasoning", "reasoning_details", "reasoning_text", "thinking")
"""Fields of a delta in which servers stream what the model thinks."""
UNSPOKEN_PARTS = frozenset({"thinking", "reasoning"})
"""Types of content parts that hold what the model thinks."""
TEMPLATE_CHUNKS = (2, 3, 8)
"""The text chunks of a stream from which a template is taken. The first one has a role; others may differ."""
TEMPLATE_INTERVAL = 16
"""Every so many text chunks that do not fit the template, a new one is taken: some servers put the time into
each chunk."""


class ChatChunkDecoder:
    """Turns the chunks of one streamed answer into events.

    `id_prefix` begins the ids of tool calls that came without one. `tool_names` are those of the tools that
    the model may call. `server_runs_tools`: the server runs the tools that it calls, so a call becomes an
    `Activity`, and the answer goes on after it. `answer_end` says how far the answer is, `done` that the
    stream is over: `[DONE]` came. Tool calls wait for `end`, because some servers give a finish reason in
    each chunk.

    The chunks of most streams differ only in their text. The decoder keeps the bytes before and after the
    text as a template. In a chunk that fits, it parses the text alone: an eighth of the usual cost.
    """

    __slots__ = (
        "_announced",
        "_calls",
        "_server_runs_tools",
        "_text_chunks",
        "_usage",
        "answer_end",
        "done",
        "template",
    )

    def __init__(
        self, id_prefix: str = "call", *, tool_names: Iterable[str] = (), server_runs_tools: bool = False
    ) -> None:
        self._server_runs_tools = server_runs_tools
        self.done = False
        self.answer_end = AnswerEnd()
        self._calls = ToolCallGatherer(id_prefix, tool_names)
        # Index, id and name of the last tool that the server announced to run.
        self._announced: tuple[object, ...] = ()
        self._usage: Usage | None = None
        # The bytes around the texts, once they are known.
        self.template: TextTemplate | None = None
        self._text_chunks = 0

    def feed(self, sse: ServerSentEvent) -> list[Event]:
        """Return the events of one server-sent event: text at once, `REASONING` for what nobody hears.

        Raises `AgentProtocolError` for data that is no chunk, and the `AgentError` that the server reports.
        """
        name, data = sse
        if self.template is not None and not (name or self.done):
            text = self.template.read_chunk(data)
            if text:
                return [text]
        if self.done:
            return []
        if name == "error":
            self.answer_end.note_error()
            raise error_from_body(data)
        if name not in ("", "message") or not data:
            return []
        if data.endswith(b"[DONE]"):  # some servers forget the blank line before it
            events = self.feed(ServerSentEvent(name, data[:-7]))
            self.done = True
            self.answer_end.note_done()
            return events
        events = self._decode_chunk(decode_object(data, "a chunk"))
        if len(events) == 1 and type(events[0]) is str:
            self._text_chunks += 1
            if self._text_chunks in TEMPLATE_CHUNKS or not self._text_chunks % TEMPLATE_INTERVAL:
                self.template = find_template(data, events[0])
        return events

    def end(self) -> list[Event]:
        """Return what remains after the stream: tool calls, the usage, and the reason if one came.

        Raises `AgentProtocolError` if a tool call is incomplete. One without arguments is complete only if
        the end of the answer is certain.
        """
        reason = self.answer_end.reason
        is_whole = self.answer_end.state is AnswerState.ENDED and not is_cut(reason)
        events: list[Event] = [*self._calls.end(is_cut=not is_whole)]
        if self._usage is not None:
            events.append(self._usage)
        if reason is not None:
            events.append(Finish(correct_reason(reason, self._calls.count > 0)))
        return events

    def _decode_chunk(self, chunk: dict[str, Any]) -> list[Event]:
        events: list[Event] = []
        try:
            choices = chunk.get("choices")
            if (chunk.get("error") or not choices) and (error := find_error(chunk)) is not None:
                raise error_from_object(error)
            if choices:
                self._decode_choice(choices[0], events)
            if usage := chunk.get("usage"):
                self._usage = _decode_usage(usage)
        except AgentError:  # it counts after a finish reason too: some servers send one in each chunk
            self.answer_end.note_error()
            raise
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise AgentProtocolError("a chunk of an unknown shape", repr(error)) from error
        return events

    def _decode_choice(self, choice: dict[str, Any], events: list[Event]) -> None:
        if error := choice.get("error"):
            raise error_from_object(error)
        if delta := choice.get("delta"):
            content = delta.get("content") or delta.get("refusal")
            text = content if not content or type(content) is str else _join_parts(content)
            if text:
                events.append(text)
            elif content or any(map(delta.get, REASONING_FIELDS)):
                events.append(REASONING)
            if fragments := delta.get("tool_calls"):
                for position, fragment in enumerate(fragments):
                    events.append(self._add_fragment(fragment, position))
            elif function := delta.get("function_call"):  # some servers send a call in both forms
                events.append(self._add_fragment({"index": 0, "function": function}, 0))
        reason, has_piece = parse_finish_reason(choice.get("finish_reason")), bool(events)
        if reason is None:
            self.answer_end.note_unmarked(has_piece=has_piece)
        elif self._server_runs_tools and reason == "tool_calls":
            self.answer_end.note_server_tools()
        else:
            self.answer_end.note_reason(reason, self._calls, has_piece=has_piece)
            self.template = None  # a chunk that fits it is not noted

    def _add_fragment(self, fragment: dict[str, Any], position: int) -> Activity:
        """Add a piece of a tool call; return the activity that it is."""
        function = fragment.get("function") or {}
        index, id = fragment.get("index"), str(fragment.get("id") or "")
        name, arguments = str(function.get("name") or ""), function.get("arguments") or ""
        if self._server_runs_tools:
            announced = (index, id, name)
            is_new = name and announced != self._announced
            self._announced = announced if name else self._announced
            return Activity(name) if is_new else REASONING
        if not isinstance(arguments, str):
            arguments = orjson.dumps(arguments).decode()
        self._calls.add(index, position, id, name, arguments)
        return REASONING


def decode_completion(
    body: bytes, id_prefix: str = "call", *, server_runs_tools: bool = False
) -> list[Event]:
    """Return the events of an answer that came as one JSON body; for the arguments see `ChatChunkDecoder`.

    Raises `AgentProtocolError` for a body that is no completion, and the error that the server reports.
    """
    completion = decode_object(body, "an answer")
    if not completion.get("choices") and (error := find_error(completion)) is not None:
        raise error_from_object(error)
    decoder = ChatChunkDecoder(id_prefix, server_runs_tools=server_runs_tools)
    try:
        choice = completion["choices"][0]
        calls = choice["message"].get("tool_calls") or ()
        calls = [{**call, "index": index} for index, call in enumerate(calls)]
        choice = {**choice, "delta": {**choice["message"], "tool_calls": calls}}
    except (AttributeError, LookupError, TypeError) as error:
        raise AgentProtocolError("an answer of an unknown shape", repr(error)) from error
    events = decoder._decode_chunk({**completion, "choices": [choice]})
    decoder.answer_end.note_done()
    return [*(event for event in events if event is not REASONING), *decoder.end()]


def decode_models(body: bytes) -> tuple[str, ...]:
    """Return the ids in a list of models. Raises `AgentProtocolError` for any other body."""
    try:
        return tuple(
            join_surrogates(str(model["id"])) for model in decode_object(body, "a list of models")["data"]
        )
    except (LookupError, TypeError) as error:
        raise AgentProtocolError("a list of models of an unknown shape", repr(error)) from error


def _join_parts(parts: Any) -> str:
    """Return the text of content that came as a list of parts. Raises TypeError if it is no list."""
    if type(parts) is not list:
        raise TypeError(f"content is {type(parts).__name__}")
    return "".join(part if isinstance(part, str) else _part_text(part) for part in parts)


def _part_text(part: dict[str, Any]) -> str:
    return "" if part.get("type") in UNSPOKEN_PARTS else part.get("text") or ""


def _decode_usage(usage: dict[str, Any]) -> Usage:
    return Usage(
        prompt=int(usage.get("prompt_tokens") or 0),
        completion=int(usage.get("completion_tokens") or 0),
        cached=int((usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0),
        reasoning=int((usage.get("completion_tokens_details") or {}).get("reasoning_tokens") or 0),
    )
