"""Reads the body of a request, up to a limit."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.types import Message, Receive, Scope

from voicegw.errors import ContentTooLarge, RequestError, UnsupportedMediaType


def check_body_headers(headers: Iterable[tuple[bytes, bytes]], max_bytes: int) -> None:
    """Raise `ContentTooLarge` or `UnsupportedMediaType` for a body that its headers show to be refused."""
    for name, value in headers:
        if name == b"content-length" and value.isdigit() and int(value) > max_bytes:
            raise ContentTooLarge(f"The request body is larger than {max_bytes} bytes.")
        if name == b"content-encoding" and value.lower() not in (b"", b"identity"):
            raise UnsupportedMediaType("The request body has a content-encoding; send it uncompressed.")


async def read_body(scope: Scope, receive: Receive, max_bytes: int) -> bytes:
    """Return the whole body of a request.

    Raise `ContentTooLarge` as soon as the body is known to have more than `max_bytes`, by its
    `content-length` or by the bytes that arrived, `UnsupportedMediaType` for a compressed body, and
    `RequestError` if the client disconnects before the body is complete.
    """
    check_body_headers(scope["headers"], max_bytes)
    parts: list[bytes] = []
    size = 0
    while True:
        message: Message = await receive()
        if message["type"] == "http.disconnect":
            raise RequestError("The client disconnected before its request was complete.")
        part: bytes = message.get("body", b"")
        size += len(part)
        if size > max_bytes:
            raise ContentTooLarge(f"The request body is larger than {max_bytes} bytes.")
        parts.append(part)
        if not message.get("more_body", False):
            return b"".join(parts)
