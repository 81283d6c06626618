"""The bytes around the text of a stream's chunks. In most streams, chunks differ only in their text. Pure.

Texts between known bytes need no parsing of whole chunks, which costs eight times as much: any number of them
is one JSON string.
"""

from __future__ import annotations

from typing import NamedTuple

import orjson

from voicegw.wire.json import dumps

PROBE_TEXT = "\x00 probe"
PROBE = dumps(PROBE_TEXT)
"""A JSON string that no server sends, to try a template with."""


class TextTemplate(NamedTuple):
    """The bytes around the JSON string of a text."""

    chunk_head: bytes
    """From the beginning of the chunk to the string."""
    chunk_tail: bytes
    """From the string to the end of the chunk."""
    head: bytes
    """From the beginning of the server-sent event to the string."""
    tail: bytes
    """From the string to the end of the event."""
    between: bytes
    """From one text to the next, quotes included. No JSON string holds it: it has a line feed."""

    def read_chunk(self, data: bytes) -> str:
        """Return the text of a chunk, "" for a chunk that does not fit."""
        if not (data.startswith(self.chunk_head) and data.endswith(self.chunk_tail)):
            return ""
        return _decode_text(data[len(self.chunk_head) : len(data) - len(self.chunk_tail)])

    def read_events(self, data: bytes, start: int) -> tuple[str, int]:
        """Return the joined text of the events from `start`, and the end of the last of them in `data`.

        If an event that does not fit is among them, the text is "" and the end is `start`.
        """
        if not data.startswith(self.head, start):
            return "", start
        end = data.rfind(self.tail, start)
        text = _decode_text(data[start + len(self.head) : end].replace(self.between, b"")) if end > 0 else ""
        return (text, end + len(self.tail)) if text else ("", start)


def find_template(data: bytes, text: str) -> TextTemplate | None:
    """Return the template of the chunk `data`, which has this text.

    None if the chunk has a reason or a usage besides, or if the first bytes that equal the text are another
    field.
    """
    head, _, tail = data.partition(dumps(text))
    try:
        trial = orjson.loads(head + PROBE + tail)
        choice = trial["choices"][0]
        if choice["delta"]["content"] != PROBE_TEXT or choice.get("finish_reason") or trial.get("usage"):
            return None
    except (orjson.JSONDecodeError, LookupError, TypeError, AttributeError):
        return None
    event_head, event_tail = b"data: " + head, tail + b"\n\n"
    return TextTemplate(head, tail, event_head, event_tail, b'"%b%b"' % (event_tail, event_head))


def _decode_text(literal: bytes) -> str:
    """Return the text that a JSON string stands for; "" for anything else."""
    try:
        text = orjson.loads(literal)
    except orjson.JSONDecodeError:
        return ""
    return text if type(text) is str else ""
