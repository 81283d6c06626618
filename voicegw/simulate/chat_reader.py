"""Reads one streamed chat completion, byte for byte, as the strictest client of a platform does. Pure.

It reports flaws as violations and continues; `voicegw.wire.sse` is the lenient parser of the gateway itself.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from voicegw.simulate.recording import ActionSeen, AnswerEnded, Observation, TextHeard, Violation
from voicegw.simulate.sse_lint import DONE_MARKER, LintResult, SseLint
from voicegw.wire.json import loads, loads_object

MAX_VIOLATIONS = 50
"""Different violations that are reported of one stream; further ones are dropped."""
FINISH_REASONS = frozenset({"stop", "length", "tool_calls", "content_filter"})
TOOL_CALL_FINISH_REASONS = frozenset({"tool_calls", "length", "content_filter"})
"""Reasons that an answer with tool calls may have."""


@dataclass(slots=True)
class ToolCallFragments:
    """One tool call, joined from the fragments so far; each field is "" until it arrives."""

    id: str = ""
    """The tool call's id."""
    name: str = ""
    """The name of the tool."""
    arguments: str = ""
    """The arguments, a JSON object as text once it is complete."""


class ChatReader:
    """Parses one stream. Feed it the bytes of the body, then call `flush` when the body ends.

    `offered_tools` are the names of the tools in the request, `turn` is the index of the turn that the text
    belongs to. `has_output` is True after text or a tool call. `finish_reason` is that of the stream, None
    before it arrives. It never raises.
    """

    def __init__(self, offered_tools: Collection[str] = (), turn: int | None = None) -> None:
        self.turn = turn
        self.offered_tools = offered_tools
        self.has_output = False
        self.finish_reason: str | None = None
        self._lint = SseLint()
        self._has_failed = False
        self._envelope: dict[str, Any] = {}
        self._tool_calls: list[ToolCallFragments] = []
        self._tool_calls_reported = False
        self._reported: set[Violation] = set()
        self._observations: list[Observation] = []

    @property
    def is_done(self) -> bool:
        """Did `[DONE]` arrive?"""
        return self._lint.is_done

    def feed(self, data: bytes) -> list[Observation]:
        """Return the observations that these bytes complete; the network may split the stream anywhere."""
        self._read(self._lint.feed(data))
        return self._take_observations()

    def flush(self) -> list[Observation]:
        """Return the observations that the proper end of the body brings."""
        self._read(self._lint.flush())
        if not self.is_done:
            self._report("done", "the body ended without [DONE]")
            self._finish(is_end_known=self.finish_reason is not None)
        return self._take_observations()

    def _read(self, results: list[LintResult]) -> None:
        for result in results:
            if isinstance(result, Violation):
                self._report(result.item, result.reason)
            elif result == DONE_MARKER:
                self._finish(is_end_known=True)
            else:
                self._read_chunk(result)

    def _take_observations(self) -> list[Observation]:
        observations, self._observations = self._observations, []
        return observations

    def _report(self, item: str, reason: str) -> None:
        violation = Violation(item, reason)
        if violation not in self._reported and len(self._reported) < MAX_VIOLATIONS:
            self._reported.add(violation)
            self._observations.append(violation)

    def _finish(self, *, is_end_known: bool) -> None:
        """End the answer; `is_end_known`: the stream marked its end, by `[DONE]` or a finish_reason."""
        self._report_tool_calls()
        if self.finish_reason is None:
            self._report("finish", "no chunk has a finish_reason")
        elif self._tool_calls and self.finish_reason not in TOOL_CALL_FINISH_REASONS:
            self._report("finish", f"finish_reason {self.finish_reason!r} though tools are called")
        elif not self._tool_calls and self.finish_reason == "tool_calls":
            self._report("finish", "finish_reason 'tool_calls' though no tool is called")
        if is_end_known and not self._has_failed:
            self._observations.append(AnswerEnded(self.turn))

    # Chunks

    def _read_chunk(self, event: bytes) -> None:
        try:
            chunk = loads(event)
        except ValueError:
            return self._report("chunks", "an event that is not JSON")
        if not isinstance(chunk, dict):
            return self._report("chunks", "an event that is not a JSON object")
        if chunk.get("error"):
            self._has_failed = True
            return self._report("chunks", "an error event, which ends the answer for every client")
        self._check_envelope(chunk)
        choices = chunk.get("choices")
        if not isinstance(choices, list):
            return self._report("chunks", "choices is not an array")
        for choice in choices:
            self._read_choice(choice)

    def _check_envelope(self, chunk: dict[str, Any]) -> None:
        valid = {
            "id": _is_nonempty_text(chunk.get("id")),
            "object": chunk.get("object") == "chat.completion.chunk",
            "created": _is_integer(chunk.get("created")),
            "model": _is_nonempty_text(chunk.get("model")),
        }
        for key, is_valid in valid.items():
            if not is_valid:
                self._report("chunks", f"{key} is missing or has a wrong type or value")
            elif self._envelope.setdefault(key, chunk[key]) != chunk[key]:
                self._report("chunks", f"{key} changes within the answer")

    def _read_choice(self, choice: Any) -> None:
        if not isinstance(choice, dict):
            return self._report("chunks", "choices[] is not an object")
        if not _is_integer(choice.get("index")) or choice["index"] != 0:
            self._report("chunks", "choices[].index is not 0")
        delta = choice.get("delta")
        if isinstance(delta, dict):
            self._read_delta(delta)
        else:
            self._report("chunks", "choices[].delta is not an object")
        if (reason := choice.get("finish_reason")) is not None:
            self._read_finish_reason(reason)

    def _read_delta(self, delta: dict[str, Any]) -> None:
        content, tool_calls = delta.get("content"), delta.get("tool_calls")
        if delta.get("role") not in (None, "assistant"):
            self._report("chunks", "delta.role is not 'assistant'")
        if isinstance(content, str):
            self._read_text(content)
        elif content is not None:
            self._report("chunks", "delta.content is neither text nor null")
        if delta.get("function_call"):
            self._report("tools", "delta.function_call, which platforms do not read; use tool_calls")
        if isinstance(tool_calls, list):
            for fragment in tool_calls:
                self._read_tool_call(fragment)
        elif tool_calls is not None:
            self._report("tools", "delta.tool_calls is not an array")

    def _read_text(self, text: str) -> None:
        if not text:
            return
        if self.finish_reason is not None:
            self._report("finish", "words after the chunk with the finish_reason")
        self.has_output = self.has_output or not text.isspace()
        self._observations.append(TextHeard(self.turn, text))

    def _read_finish_reason(self, reason: Any) -> None:
        if not isinstance(reason, str) or reason not in FINISH_REASONS:
            self._report("finish", "an unknown finish_reason")
        elif self.finish_reason is not None:
            self._report("finish", "more than one chunk with a finish_reason")
        self.finish_reason = reason if isinstance(reason, str) else "stop"
        self._report_tool_calls()

    # Tool calls

    def _read_tool_call(self, fragment: Any) -> None:
        if not isinstance(fragment, dict):
            return self._report("tools", "delta.tool_calls[] is not an object")
        self.has_output = True
        if self.finish_reason is not None:
            self._report("finish", "a tool call after the chunk with the finish_reason")
        index = fragment.get("index")
        if not isinstance(index, int) or not _is_integer(index) or not 0 <= index <= len(self._tool_calls):
            return self._report("tools", "tool_calls[].index does not count from 0 without gaps")
        if index == len(self._tool_calls):
            self._tool_calls.append(ToolCallFragments())
        if fragment.get("type") not in (None, "function"):
            self._report("tools", "tool_calls[].type is not 'function'")
        function = fragment.get("function")
        self._append_fragment(
            self._tool_calls[index], fragment.get("id"), function if isinstance(function, dict) else {}
        )

    def _append_fragment(self, call: ToolCallFragments, id: Any, function: dict[str, Any]) -> None:
        name, arguments = function.get("name"), function.get("arguments")
        if any(value is not None and not isinstance(value, str) for value in (id, name, arguments)):
            return self._report("tools", "id, name and arguments of a tool call must be text")
        if (id and call.id) or (name and call.name):
            self._report("tools", "id or name of a tool call comes more than once; clients join them")
        call.id, call.name = call.id or id or "", call.name or name or ""
        call.arguments += arguments or ""

    def _report_tool_calls(self) -> None:
        """Report the tool calls, which are complete now. Only the first call of this method does so."""
        if self._tool_calls_reported:
            return
        self._tool_calls_reported = True
        ids = [call.id for call in self._tool_calls]
        if "" in ids or len(set(ids)) < len(ids):
            self._report("tools", "each tool call needs its own id")
        for call in self._tool_calls:
            if call.name not in self.offered_tools:
                self._report("tools", f"the request offers no tool {call.name[:40]!r}")
            if loads_object(call.arguments) is None:
                self._report(
                    "tools", "the arguments of a tool call are not a JSON object; without arguments send {}"
                )
            self._observations.append(ActionSeen(self.turn, call.name, call.arguments, call.id))


def _is_nonempty_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
