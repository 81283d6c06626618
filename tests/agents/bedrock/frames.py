"""Messages of an event stream, encoded as AWS encodes them."""

from __future__ import annotations

from collections.abc import Mapping
from struct import pack
from typing import Any
from zlib import crc32

import orjson

HI_DELTA = bytes.fromhex(
    "0000009f00000057c37babff0b3a6576656e742d74797065070011636f6e74656e74426c6f636b44656c74610d3a636f6e74656e"
    "742d747970650700106170706c69636174696f6e2f6a736f6e0d3a6d6573736167652d74797065070005"
    "6576656e747b22636f6e74656e74426c6f636b496e646578223a302c2264656c7461223a7b2274657874223a224869227d2c2270"
    "223a2261626364227df2ace5ff"
)
"""A message with the text "Hi"."""
THROTTLED = bytes.fromhex(
    "0000008800000061de0175f40f3a657863657074696f6e2d747970650700137468726f74746c696e67457863657074696f6e0d3a"
    "636f6e74656e742d747970650700106170706c69636174696f6e2f6a736f6e0d3a6d6573736167652d74797065070009"
    "657863657074696f6e7b226d657373616765223a22736c6f7720646f776e227d832ee072"
)
"""A message with a throttling exception and the words "slow down"."""


def encode_header(name: str, kind: int, value: bytes) -> bytes:
    """Encode a header whose value is encoded already."""
    return pack(">B", len(name.encode())) + name.encode() + pack(">B", kind) + value


def string_header(name: str, value: str) -> bytes:
    """Encode a header whose value is a string."""
    return encode_header(name, 7, pack(">H", len(value.encode())) + value.encode())


def encode_message(headers: bytes, payload: bytes = b"") -> bytes:
    """Encode a message with its checksums."""
    prelude = pack(">II", 16 + len(headers) + len(payload), len(headers))
    whole = prelude + pack(">I", crc32(prelude)) + headers + payload
    return whole + pack(">I", crc32(whole))


def string_message(headers: Mapping[str, str], payload: bytes = b"") -> bytes:
    """Encode a message whose header values are strings."""
    return encode_message(b"".join(string_header(name, value) for name, value in headers.items()), payload)


def event(kind: str, **more: Any) -> bytes:
    """Encode a message with an event."""
    headers = {":event-type": kind, ":content-type": "application/json", ":message-type": "event"}
    return string_message(headers, orjson.dumps(more))


def event_with_payload(kind: str, payload: bytes) -> bytes:
    """Encode a message with an event whose JSON is encoded already."""
    return string_message({":message-type": "event", ":event-type": kind}, payload)


def exception_message(kind: str, message: str) -> bytes:
    """Encode a message with an exception."""
    headers = {":exception-type": kind, ":content-type": "application/json", ":message-type": "exception"}
    return string_message(headers, orjson.dumps({"message": message}))


def block_delta(index: int = 0, **what: Any) -> bytes:
    return event("contentBlockDelta", contentBlockIndex=index, delta=what)


def tool_use(index: int, name: str, *pieces: str, id: str | None = "tooluse_1", **more: Any) -> bytes:
    """Encode a whole tool use: block start, pieces of the input, block stop."""
    start = {"toolUse": {"toolUseId": id, "name": name, **more}}
    began = event("contentBlockStart", contentBlockIndex=index, start=start)
    return (
        began + b"".join(block_delta(index, toolUse={"input": piece}) for piece in pieces) + block_stop(index)
    )


def block_stop(index: int = 0) -> bytes:
    return event("contentBlockStop", contentBlockIndex=index)


def message_stop(reason: str = "end_turn") -> bytes:
    return event("messageStop", stopReason=reason)


def metadata(prompt: int, completion: int, **more: int) -> bytes:
    usage = {"inputTokens": prompt, "outputTokens": completion, "totalTokens": prompt + completion, **more}
    return event("metadata", usage=usage, metrics={"latencyMs": 5}, p="abc")
