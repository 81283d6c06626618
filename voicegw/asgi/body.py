"""Reads the body of a request, up to a limit."""

from __future__ import annotations

from starlette.types import Message, Receive, Scope

from voicegw.errors import ContentTooLarge, RequestError


async def read_body(scope: Scope, receive: Receive, most: int) -> bytes:
    """The whole body, or `ContentTooLarge` as soon as it is known to be."""
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit() and int(value) > most:
            raise ContentTooLarge(f"The request body is larger than {most} bytes.")
    parts: list[bytes] = []
    size = 0
    while True:
        message: Message = await receive()
        if message["type"] == "http.disconnect":
            raise RequestError("The client hung up before its request was complete.")
        part: bytes = message.get("body", b"")
        size += len(part)
        if size > most:
            raise ContentTooLarge(f"The request body is larger than {most} bytes.")
        parts.append(part)
        if not message.get("more_body", False):
            return b"".join(parts)
