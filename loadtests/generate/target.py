"""A chat-completions server under test, and the request that a voice platform sends to it.

Pure: no sockets. docs/load-testing.md describes the tools.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from urllib.parse import urlsplit

import orjson

CHAT_PATH = "/chat/completions"
SYSTEM_PROMPT = (
    "You are the friendly voice of a small hotel by the sea. Answer in one or two short sentences. "
)
USER_TEXT = "For the two of us, and the dog comes along too."


@dataclass(frozen=True, slots=True)
class Target:
    """One server under test.

    `name` stands in tables and results. `path` is the path of chat completions. `headers` are sent with every
    request, in addition to the key.
    """

    name: str
    port: int
    host: str = "127.0.0.1"
    path: str = f"/v1{CHAT_PATH}"
    key: str = "none"
    tls: bool = False
    headers: Mapping[str, str] = field(default_factory=dict, hash=False)

    @classmethod
    def from_url(cls, url: str, key: str = "none", name: str = "target", *, anywhere: bool = False) -> Target:
        """Return the target at a base URL or at the full URL of chat completions.

        `anywhere` allows another machine: without it, a mistake would put load on a foreign server.

        Raises ValueError for a URL without http(s) and host, and for another machine without `anywhere`.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url!r} is not the URL of a server: use http://HOST:PORT")
        if not anywhere and not is_loopback(parts.hostname):
            raise ValueError(f"{parts.hostname} is not this machine: --anywhere allows other machines")
        base = parts.path.rstrip("/").removesuffix(CHAT_PATH)
        tls = parts.scheme == "https"
        port = parts.port or (443 if tls else 80)
        return cls(name, port, parts.hostname, f"{base or '/v1'}{CHAT_PATH}", key, tls)

    @property
    def netloc(self) -> str:
        """Host and port as the Host header names them; an IPv6 address stands in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def encode_request(self, model: str, call_id: str = "", user_text: str = USER_TEXT) -> bytes:
        """Return the HTTP request of one turn: a system message, a short history, and `user_text`.

        `call_id` goes into X-Voicegw-Call; "" sends no such header.
        """
        messages = [
            {"role": "system", "content": SYSTEM_PROMPT * 3},
            {"role": "user", "content": "Hello, do you have a room for the weekend?"},
            {"role": "assistant", "content": "We do! For how many people?"},
            {"role": "user", "content": user_text},
        ]
        body = orjson.dumps({"model": model, "messages": messages, "stream": True, "temperature": 0.7})
        headers = {**({"x-voicegw-call": call_id} if call_id else {}), **self.headers}
        more = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        head = (
            f"POST {self.path} HTTP/1.1\r\nhost: {self.netloc}\r\n"
            f"authorization: Bearer {self.key}\r\n{more}accept: application/json\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


def is_loopback(host: str) -> bool:
    """Whether a host name or address can only mean this machine."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
