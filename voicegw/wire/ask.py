"""A chat completions request as it arrives: bytes in, an `Ask` out, or a `BadRequest` that names the field.

Unknown keys are welcome (platforms add their own) and kept in `extra`; wrong types are not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, cast, get_args

from voicegw.errors import BadRequest
from voicegw.events import Message, Role, Tool, ToolCall
from voicegw.wire.json import dumps, loads

ROLES = frozenset(get_args(Role))
T = TypeVar("T")
NULL = type(None)
NUMBER = (int, float, NULL)
SAMPLING: Mapping[str, tuple[type, ...]] = {
    "frequency_penalty": NUMBER,
    "logit_bias": (dict, NULL),
    "max_completion_tokens": (int, NULL),
    "max_tokens": (int, NULL),
    "parallel_tool_calls": (bool, NULL),
    "presence_penalty": NUMBER,
    "prompt_cache_key": (str, NULL),
    "reasoning_effort": (str, NULL),
    "response_format": (dict, NULL),
    "safety_identifier": (str, NULL),
    "seed": (int, NULL),
    "service_tier": (str, NULL),
    "stop": (str, list, NULL),
    "temperature": NUMBER,
    "top_p": NUMBER,
    "user": (str, NULL),
    "verbosity": (str, NULL),
}
"""The fields that pass to agents as options, and the types they may have.

`metadata` and `store` are not among them: voice platforms put the caller's data there, which is not for
whoever runs the model. Both are in `extra`.
"""
MOST_TOOLS = 512
OURS = frozenset({"model", "messages", "stream", "stream_options", "tools", "tool_choice", "n"})
JSON_NAMES: Mapping[type, str] = {
    bool: "a boolean",
    dict: "an object",
    float: "a number",
    int: "an integer",
    list: "an array",
    str: "a string",
    NULL: "null",
}


@dataclass(frozen=True, slots=True)
class Ask:
    """What one request asks for. `structured`: a response format other than text, to be left untouched."""

    model: str
    messages: tuple[Message, ...]
    stream: bool
    wants_usage: bool
    tools: tuple[Tool, ...]
    tool_choice: str | Mapping[str, Any] | None
    options: Mapping[str, Any]
    extra: Mapping[str, Any]

    @property
    def structured(self) -> bool:
        wanted = self.options.get("response_format") or {}
        return bool(wanted.get("type", "text") != "text")

    @property
    def chore(self) -> bool:
        """Is this no turn of a caller, but a chat client's own errand: a title, tags, what to ask next?"""
        return bool(self.messages) and self.messages[-1].text.lstrip().startswith("### Task:")

    @property
    def language(self) -> str | None:
        """The caller's language where the platform tells it: `language` in the body or its extras."""
        places = (self.extra, self.extra.get("elevenlabs_extra_body"), self.extra.get("metadata"))
        found = (place.get("language") for place in places if isinstance(place, dict))
        return next((tag for tag in found if isinstance(tag, str) and 0 < len(tag) <= 35), None)


def parse(body: bytes, *, messages: int, depth: int) -> Ask:
    """Read a request body with at most so many messages, nested at most so deep."""
    try:
        data = loads(body)
    except ValueError:
        raise BadRequest("The request body is no valid JSON.") from None
    if not isinstance(data, dict):
        raise BadRequest("The request body must be a JSON object.")
    if body.count(b"{") + body.count(b"[") > depth and _deeper(data, depth):
        raise BadRequest(f"The request body is nested deeper than {depth} levels.")
    if field(data, "n", int, NULL) not in (None, 1):
        raise BadRequest("'n' must be 1: a call hears one answer.", param="n")
    stream_options = field(data, "stream_options", dict, NULL) or {}
    return Ask(
        model=_name(field(data, "model", str, NULL) or "", "model", 256),
        messages=_messages(data, messages),
        stream=bool(field(data, "stream", bool, NULL)),
        wants_usage=bool(field(stream_options, "include_usage", bool, NULL, path="stream_options.")),
        tools=_tools(field(data, "tools", list, NULL) or []),
        tool_choice=field(data, "tool_choice", str, dict, NULL),
        options=_options(data),
        extra={key: value for key, value in data.items() if key not in OURS and key not in SAMPLING},
    )


def field(data: Mapping[str, Any], key: str, *kinds: type, path: str = "") -> Any:
    """`data[key]`, None if missing, or a `BadRequest` naming it if it is none of `kinds`."""
    value = data.get(key)
    if value is None and NULL in kinds:
        return None
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        names = [JSON_NAMES[kind] for kind in kinds if kind is not NULL]
        got = "missing" if key not in data else JSON_NAMES.get(type(value), "of another type")
        raise BadRequest(f"'{path}{key}' must be {' or '.join(names)}; it is {got}.", param=path + key)
    return value


def _options(data: Mapping[str, Any]) -> dict[str, Any]:
    found = {
        key: field(data, key, *SAMPLING[key])
        for key, value in data.items()
        if key in SAMPLING and value is not None
    }
    for key in ("max_tokens", "max_completion_tokens"):
        if found.get(key, 1) < 1:
            raise BadRequest(f"'{key}' must be at least 1.", param=key)
    return found


def _name(text: str, param: str, most: int) -> str:
    """A name that is echoed, logged or looked for: short, and without control characters."""
    if len(text) > most or not (text.isprintable() or not text):
        raise BadRequest(f"'{param}' must be at most {most} printable characters.", param=param)
    return text


def _deeper(value: Any, most: int) -> bool:
    level = [value]
    for _ in range(most):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, (dict, list))
        ]
        if not level:
            return False
    return True


def _messages(data: Mapping[str, Any], most: int) -> tuple[Message, ...]:
    given = field(data, "messages", list)
    if not given:
        raise BadRequest("'messages' must hold at least one message.", param="messages")
    if len(given) > most:
        raise BadRequest(
            f"'messages' holds {len(given)} messages; at most {most} are allowed.", param="messages"
        )
    return tuple(_each(given, "messages", _message))


def _each(values: list[Any], path: str, read: Callable[[dict[str, Any], str], T]) -> list[T]:
    for index, value in enumerate(values):
        if not isinstance(value, dict):
            raise BadRequest(f"'{path}[{index}]' must be an object.", param=f"{path}[{index}]")
    return [read(value, f"{path}[{index}].") for index, value in enumerate(values)]


def _message(data: dict[str, Any], path: str) -> Message:
    role = field(data, "role", str, path=path)
    if role not in ROLES:
        raise BadRequest(f"'{path}role' must be one of {', '.join(sorted(ROLES))}.", param=f"{path}role")
    text, parts = _content(field(data, "content", str, list, NULL, path=path), path)
    calls = _each(field(data, "tool_calls", list, NULL, path=path) or [], f"{path}tool_calls", _call)
    if old := field(data, "function_call", dict, NULL, path=path):
        calls.append(_function(old, "", f"{path}function_call."))
    return Message(
        role=cast(Role, role),
        text=text,
        parts=parts,
        tool_calls=tuple(calls),
        tool_call_id=field(data, "tool_call_id", str, NULL, path=path),
        name=field(data, "name", str, NULL, path=path),
    )


def _content(content: str | list[Any] | None, path: str) -> tuple[str, tuple[dict[str, Any], ...]]:
    if content is None or isinstance(content, str):
        return content or "", ()
    parts = [{"type": "text", "text": part} if isinstance(part, str) else part for part in content]
    texts = [text for text in _each(parts, f"{path}content", _part) if text is not None]
    return "\n".join(texts), () if len(texts) == len(parts) else tuple(parts)


def _part(data: dict[str, Any], path: str) -> str | None:
    """The text of a content part, None for a part of another kind."""
    if field(data, "type", str, path=path) not in ("text", "input_text", "output_text"):
        return None
    return str(field(data, "text", str, path=path))


def _call(data: dict[str, Any], path: str) -> ToolCall:
    function = field(data, "function", dict, NULL, path=path) or {}
    return _function(function, field(data, "id", str, NULL, path=path) or "", f"{path}function.")


def _function(data: dict[str, Any], id: str, path: str) -> ToolCall:
    arguments = field(data, "arguments", str, dict, NULL, path=path) or "{}"
    name = field(data, "name", str, NULL, path=path) or ""
    return ToolCall(id, name, arguments if isinstance(arguments, str) else dumps(arguments).decode())


def _tools(given: list[Any]) -> tuple[Tool, ...]:
    if len(given) > MOST_TOOLS:
        raise BadRequest(
            f"'tools' holds {len(given)} tools; at most {MOST_TOOLS} are allowed.", param="tools"
        )
    return tuple(tool for tool in _each(given, "tools", _tool) if tool is not None)


def _tool(data: dict[str, Any], path: str) -> Tool | None:
    """A function tool; None for kinds that only OpenAI itself could run."""
    if field(data, "type", str, NULL, path=path) not in (None, "function"):
        return None
    function = field(data, "function", dict, path=path)
    path += "function."
    return Tool(
        name=_name(field(function, "name", str, path=path), f"{path}name", 128),
        description=field(function, "description", str, NULL, path=path) or "",
        parameters=field(function, "parameters", dict, NULL, path=path) or {},
        strict=field(function, "strict", bool, NULL, path=path),
    )
