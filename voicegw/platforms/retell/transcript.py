"""Reads the transcript in Retell's requests. Pure.

Source: Retell's documentation of the LLM websocket, and the official `retell-sdk` for keys.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any

from voicegw.events import Message, Role, ToolCall
from voicegw.turns.prompts import KEYPAD_PROMPT
from voicegw.wire.json import loads_object

ROLES: dict[Any, Role] = {"agent": "assistant", "user": "user", "system": "system"}
DTMF_KEYS = re.compile(r"[0-9*#A-D]{1,64}")
"""The keys of one entry of the transcript."""


def _entries(data: dict[str, Any]) -> list[Any] | None:
    """Return the transcript, the one with tool calls if it is there; None if there is none."""
    names = ("transcript_with_tool_calls", "transcript")
    return next((data[name] for name in names if isinstance(data.get(name), list)), None)


def parse_history(data: dict[str, Any]) -> tuple[Message, ...] | None:
    """Return the messages of a request's transcript, without invalid entries; None if it has none."""
    entries = _entries(data)
    return None if entries is None else tuple(_parse_messages(entries))


def ends_with_keys(data: dict[str, Any]) -> bool:
    """Has the caller pressed keys since anybody spoke?"""
    entries = _entries(data)
    return bool(entries and _pressed_key(entries[-1]))


def _pressed_key(entry: Any) -> str:
    """Return the key of a transcript's entry (source: the official `retell-sdk`), "" for another entry."""
    match entry:
        case {"role": "dtmf", "digit": str(digit)} if DTMF_KEYS.fullmatch(digit):
            return digit
    return ""


def _parse_messages(entries: Iterable[Any]) -> Iterator[Message]:
    """Yield the messages and tool calls in order, keys in a row as one message.

    Invalid entries and results without a call are left out.
    """
    open_calls: set[str] = set()
    for is_keys, group in groupby(entries, lambda entry: _pressed_key(entry) != ""):
        if is_keys:
            yield Message("user", KEYPAD_PROMPT.format(digits="".join(map(_pressed_key, group))))
            continue
        for entry in group:
            yield from _parse_entry(entry, open_calls)


def _parse_entry(entry: Any, open_calls: set[str]) -> Iterator[Message]:
    """Yield the message of an entry; `open_calls` are the ids of calls without a result."""
    match entry:
        case {"role": "agent" | "user" | "system" as role, "content": str(content)}:
            yield Message(ROLES[role], content)
        case {"role": "tool_call_invocation", "tool_call_id": str(id), "name": str(name)} if id and name:
            arguments = entry.get("arguments")
            if isinstance(arguments, str) and loads_object(arguments) is not None:
                open_calls.add(id)
                yield Message("assistant", tool_calls=(ToolCall(id, name, arguments),))
        case {"role": "tool_call_result", "tool_call_id": str(id), "content": str(content)} if (
            id in open_calls
        ):
            open_calls.remove(id)
            yield Message("tool", content, tool_call_id=id)
