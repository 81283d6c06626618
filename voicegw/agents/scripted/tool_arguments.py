"""The tool calls of the scripted agents: arguments that fit the request's schema, from the caller's words.

It validates no schema, and follows no references and formats in it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import takewhile
from typing import Any

import orjson

from voicegw.events import Tool, ToolCall, Turn

MAX_TEXT_LENGTH = 500
"""Characters of a message that are read, which bounds the work of a turn."""


def text_after_name(tool: Tool, user_text: str) -> str | None:
    """Return the text after the name of the tool, None if the text does not have the name."""
    name = r"[\W_]*".join(re.findall(r"[A-Z]?[a-z]+|[A-Z]+|\d+", tool.name))
    pattern = rf"\b{name}\b\W*(?:(?:for|with|in|to|of|about|at|on)\b)?"
    found = re.search(pattern, user_text, re.I) if name else None
    return re.sub(r"\W*(please\W*)?$", "", user_text[found.end() :]).lstrip() if found else None


def tool_text(tool: Tool) -> str:
    """Return the description and the schema of a tool, to search in."""
    return f"{tool.description} {orjson.dumps(dict(tool.parameters)).decode()}"


def knows_destination(tool: Tool) -> bool:
    """Whether the request names a destination for a transfer. A tool without destinations needs none."""
    destinations = as_mapping(tool.parameters.get("properties")).keys() & {"transfer_number", "destination"}
    return not destinations or bool(re.search(r'\+\d{6}|"enum"', tool_text(tool)))


def make_call(turn: Turn, tool: Tool, **known: str) -> ToolCall:
    """Return a call of the tool with the arguments that its schema requires, all if it requires none.

    It also has a `reason` if the schema and `known` have one. A value in `known` comes before the caller's
    words.
    """
    user_text = turn.said.strip()[-MAX_TEXT_LENGTH:]
    properties = as_mapping(tool.parameters.get("properties"))
    names = [*(tool.parameters.get("required") or ()), *({"reason"} & known.keys() & properties.keys())]
    if number := re.search(r"\+\d{6,15}", tool_text(tool)):
        known |= {"transfer_number": number[0], "destination": number[0]}
    words = text_after_name(tool, user_text) or user_text
    arguments = {
        name: make_value(properties.get(name), known.get(name, words)) for name in names or properties
    }
    return ToolCall(f"call_{turn.id}", tool.name, orjson.dumps(arguments).decode())


def make_value(schema: Any, user_text: str) -> Any:
    """Return a value that fits a JSON schema, made from a text. It ignores references and formats."""
    schema = as_mapping(schema)
    fixed = [schema["const"]] if "const" in schema else schema.get("enum") or schema.get("examples")
    if fixed:
        return fixed[0]
    if choices := schema.get("anyOf") or schema.get("oneOf"):
        return make_value(choices[0], user_text)
    kind = schema.get("type")
    match kind[0] if isinstance(kind, list) else kind:
        case "object":
            properties = as_mapping(schema.get("properties"))
            names = schema.get("required") or properties
            return {name: make_value(properties.get(name), user_text) for name in names}
        case "array":
            return [make_value(schema.get("items"), user_text)]
        case "integer" | "number" as kind:
            digits = re.search(r"\d{1,15}" if kind == "integer" else r"\d{1,15}(\.\d+)?", user_text)
            number = (int if kind == "integer" else float)(digits[0] if digits else 0)
            number = max(number, schema.get("minimum", number))
            return min(number, schema.get("maximum", number))
        case "boolean":
            return True
        case "null":
            return None
    return user_text


def as_mapping(value: Any) -> Mapping[str, Any]:
    """Return `value` if it is a mapping, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def result_text(turn: Turn) -> str | None:
    """Return the results of tools at the end of the messages, as speech; None if there are none."""
    results = [*takewhile(lambda message: message.role in ("tool", "function"), reversed(turn.messages))]
    if not results:
        return None
    return " ".join(to_speech(message.text[:MAX_TEXT_LENGTH]) for message in reversed(results))


def to_speech(text: str) -> str:
    """Return a tool's result, JSON or not, as speech: its words and numbers without other signs."""
    if re.search(r'"error"|"status": ?"(error|failed|failure)"', text):
        return "I am sorry, that did not work."
    text = re.sub(r'"status": ?"\w+"', "", text).replace("%", " percent").replace("°", " degrees ")
    text = re.sub(r"(?<!\w)-(?=\d)", "minus ", re.sub(r'"?,\s*"?', ", ", text))
    words = re.findall(r"[^\W_]+(?:['’.:-][^\W_]+)*[.,!?]?", text)
    prose = re.sub(r"[,\w]$", lambda last: f"{last[0].strip(',')}.", " ".join(words))
    return f"Here is what I found: {prose}" if prose else "That is done."
