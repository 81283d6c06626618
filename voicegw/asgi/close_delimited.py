"""Responses to clients of HTTP/1.0, which know no chunks: the end of the connection ends the body.

Source: RFC 9112, 6.1: a server must not send chunks to such a client.
"""

from __future__ import annotations

from typing import Any


def without_chunks(app: Any, cycle: Any) -> Any:
    """Return the application with a `send` that uses no chunks, for the response of this cycle.

    `cycle` is a `RequestResponseCycle` of uvicorn, which chooses chunks for a body of unknown length, and
    else checks the length. So here each part of such a body declares its own length. The connection closes
    after the last part.
    """
    cycle.keep_alive = False

    async def run(scope: Any, receive: Any, send: Any) -> None:
        is_length_known = True

        async def send_plain(message: Any) -> None:
            nonlocal is_length_known
            if message["type"] == "http.response.start":
                names = [name.lower() for name, _ in message.get("headers", ())]
                is_length_known = b"content-length" in names
                cycle.chunked_encoding = None if is_length_known else False
            elif not is_length_known:
                cycle.expected_content_length = len(message.get("body", b""))
            await send(message)

        await app(scope, receive, send_plain)

    return run
