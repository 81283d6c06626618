"""The actions of a call as tool definitions for the agent.

The platform's codec executes the tool calls (`voicegw.calls.codec.ACTIONS`); nothing here does.
"""

from __future__ import annotations

from collections.abc import Iterable

from voicegw.events import Tool


def build_call_tools(names: Iterable[str]) -> tuple[Tool, ...]:
    """Return the tool definitions of these actions, in the same order.

    Raises `KeyError` for a name that is not in `voicegw.calls.codec.ACTIONS`.
    """
    return tuple(TOOLS[name] for name in names)


def _tool(name: str, description: str, required: tuple[str, ...], **fields: str) -> Tool:
    properties = {field: {"type": "string", "description": text} for field, text in fields.items()}
    return Tool(name, description, {"type": "object", "properties": properties, "required": [*required]})


TOOLS = {
    tool.name: tool
    for tool in (
        _tool("end_call", "Hang up, after what you say in this turn.", (), reason="Why, in a few words."),
        _tool(
            "transfer_call",
            "Hand the caller over to a person, after what you say in this turn.",
            ("number",),
            number="Telephone number in international form, such as +15550100199.",
            reason="Why, in a few words.",
        ),
        _tool("send_digits", "Press keys on the keypad.", ("digits",), digits='Digits, "*" and "#".'),
        _tool(
            "switch_language",
            "Go on in another language, which the caller speaks.",
            ("language",),
            language="Language tag such as es-ES.",
        ),
        _tool("play_audio", "Play a recording.", ("url",), url="Address of the recording, https."),
    )
}
"""The tool definition of each action, by name."""
