"""What an agent can do on a call besides speaking, as the tools that it is offered.

The gateway runs them itself, by way of the platform's codec (`voicegw.calls.codec.ACTIONS`).
"""

from __future__ import annotations

from collections.abc import Iterable

from voicegw.events import Tool


def call_tools(names: Iterable[str]) -> tuple[Tool, ...]:
    """The actions of these names as tools for the agent."""
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
            number="Telephone number in international form, such as +15550100.",
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
