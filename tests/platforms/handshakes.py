"""Websocket handshakes for the tests of the platforms' authenticators."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.types import Scope

from voicegw.errors import RequestError

REMOTE_HEADERS = {"host": "voice.example.com", "x-forwarded-for": "192.0.2.7"}
REMOTE_CLIENTS: list[dict[str, Any]] = [
    {"client": "192.0.2.7"},
    {"host": "voice.example.com"},
    {"x_forwarded_for": "192.0.2.7"},
    {"origin": "https://evil.example"},
]
"""Arguments of `handshake_scope` that make a handshake remote."""


def handshake_scope(path: str, query: str = "", client: str = "127.0.0.1", **headers: str) -> Scope:
    """Return the ASGI scope of a handshake; "_" in the name of a header stands for "-"."""
    fields = {"host": "127.0.0.1:8080", **headers}
    return {
        "type": "websocket",
        "scheme": "ws",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "client": (client, 5555),
        "headers": [
            (name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in fields.items()
        ],
    }


def refusal(authenticate: Callable[[Scope], str | None], scope: Scope) -> type[RequestError] | None:
    """Return the class of the error with which a handshake is refused, None if it is accepted."""
    try:
        assert authenticate(scope) is None
    except RequestError as failure:
        return type(failure)
    return None
