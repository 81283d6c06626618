"""How the embedded agents call tools: arguments made from the request's own schema and what was said."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import takewhile
from typing import Any

import orjson

from voicegw.events import Tool, ToolCall, Turn

MAX_TEXT_LENGTH = 500
"""How many characters of one message are looked at: work is bounded."""


def after_name(tool: Tool, said: str) -> str | None:
    """What the caller said after the name of the tool, or None when the name was not said."""
    name = r"[\W_]*".join(re.findall(r"[A-Z]?[a-z]+|[A-Z]+|\d+", tool.name))
    found = re.search(rf"\b{name}\b\W*(?:(?:for|with|in|to|of|about|at|on)\b)?", said, re.I) if name else None
    return re.sub(r"\W*(please\W*)?$", "", said[found.end() :]).lstrip() if found else None


def written(tool: Tool) -> str:
    return f"{tool.description} {orjson.dumps(dict(tool.parameters)).decode()}"


def reaches(tool: Tool) -> bool:
    """Whether the request says where a transfer may go; a number is never made up."""
    places = mapping(tool.parameters.get("properties")).keys() & {"transfer_number", "destination"}
    return not places or bool(re.search(r'\+\d{6}|"enum"', written(tool)))


def call(turn: Turn, tool: Tool, **known: str) -> ToolCall:
    """A call of this tool with the arguments that its schema requires, and a `reason` where there is one.

    A schema that requires none gets all. What is `known` by name comes first, then what was said.
    """
    said = turn.said.strip()[-MAX_TEXT_LENGTH:]
    properties = mapping(tool.parameters.get("properties"))
    names = [*(tool.parameters.get("required") or ()), *({"reason"} & known.keys() & properties.keys())]
    if number := re.search(r"\+\d{6,15}", written(tool)):
        known |= {"transfer_number": number[0], "destination": number[0]}
    words = after_name(tool, said) or said
    arguments = {name: value(properties.get(name), known.get(name, words)) for name in names or properties}
    return ToolCall(f"call_{turn.id}", tool.name, orjson.dumps(arguments).decode())


def value(schema: Any, said: str) -> Any:
    """A value that fits a JSON schema, made from what was said. References and formats are not followed."""
    schema = mapping(schema)
    fixed = [schema["const"]] if "const" in schema else schema.get("enum") or schema.get("examples")
    if fixed:
        return fixed[0]
    if choices := schema.get("anyOf") or schema.get("oneOf"):
        return value(choices[0], said)
    kind = schema.get("type")
    match kind[0] if isinstance(kind, list) else kind:
        case "object":
            inner = mapping(schema.get("properties"))
            return {name: value(inner.get(name), said) for name in schema.get("required") or inner}
        case "array":
            return [value(schema.get("items"), said)]
        case "integer" | "number" as kind:
            digits = re.search(r"\d{1,15}" if kind == "integer" else r"\d{1,15}(\.\d+)?", said)
            number = (int if kind == "integer" else float)(digits[0] if digits else 0)
            number = max(number, schema.get("minimum", number))
            return min(number, schema.get("maximum", number))
        case "boolean":
            return True
        case "null":
            return None
    return said


def mapping(found: Any) -> Mapping[str, Any]:
    return found if isinstance(found, Mapping) else {}


def result(turn: Turn) -> str | None:
    """The results of tools that end the messages, in words; None when no tool has answered just now."""
    last = [*takewhile(lambda message: message.role in ("tool", "function"), reversed(turn.messages))]
    return " ".join(in_words(message.text[:MAX_TEXT_LENGTH]) for message in reversed(last)) if last else None


def in_words(text: str) -> str:
    """What a tool answered, JSON or not, as speech: its words and numbers without the signs around them."""
    if re.search(r'"error"|"status": ?"(error|failed|failure)"', text):
        return "I am sorry, that did not work."
    text = re.sub(r'"status": ?"\w+"', "", text).replace("%", " percent").replace("°", " degrees ")
    text = re.sub(r"(?<!\w)-(?=\d)", "minus ", re.sub(r'"?,\s*"?', ", ", text))
    told = re.findall(r"[^\W_]+(?:['’.:-][^\W_]+)*[.,!?]?", text)
    prose = re.sub(r"[,\w]$", lambda last: f"{last[0].strip(',')}.", " ".join(told))
    return f"Here is what I found: {prose}" if prose else "That is done."
