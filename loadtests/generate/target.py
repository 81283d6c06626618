"""Where callers ring: a server of chat completions, and what a platform sends it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from urllib.parse import urlsplit

import orjson

CHAT = "/chat/completions"
SYSTEM = "You are the friendly voice of a small hotel by the sea. Answer in one or two short sentences. "
SAID = "For the two of us, and the dog comes along too."


@dataclass(frozen=True, slots=True)
class Door:
    """`path` is that of chat completions, `name` what its figures are called by; `headers` go along."""

    name: str
    port: int
    host: str = "127.0.0.1"
    path: str = f"/v1{CHAT}"
    key: str = "none"
    tls: bool = False
    headers: Mapping[str, str] = field(default_factory=dict, hash=False)

    @classmethod
    def at(cls, url: str, key: str = "none", name: str = "target", *, anywhere: bool = False) -> Door:
        """The door at a base URL or a full one. Raises ValueError for one that is not on this machine,
        unless `anywhere` is allowed: load on other people's servers must be meant."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"no URL of a server: {url}")
        if not anywhere and not loopback(parts.hostname):
            raise ValueError(f"{parts.hostname} is not this machine")
        base = parts.path.rstrip("/").removesuffix(CHAT)
        tls = parts.scheme == "https"
        port = parts.port or (443 if tls else 80)
        return cls(name, port, parts.hostname, f"{base or '/v1'}{CHAT}", key, tls)

    @property
    def place(self) -> str:
        """Host and port, as a request names them."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def request(self, model: str, call: str = "", said: str = SAID) -> bytes:
        """A turn as a voice platform asks for it: a system message, a little history, what was just said.

        `call` names the call that it belongs to; "" for one that has none.
        """
        messages = [
            {"role": "system", "content": SYSTEM * 3},
            {"role": "user", "content": "Hello, do you have a room for the weekend?"},
            {"role": "assistant", "content": "We do! For how many people?"},
            {"role": "user", "content": said},
        ]
        body = orjson.dumps({"model": model, "messages": messages, "stream": True, "temperature": 0.7})
        headers = {**({"x-voicegw-call": call} if call else {}), **self.headers}
        more = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        head = (
            f"POST {self.path} HTTP/1.1\r\nhost: {self.place}\r\n"
            f"authorization: Bearer {self.key}\r\n{more}accept: application/json\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


def loopback(host: str) -> bool:
    """Whether a name or address means this machine and no other."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
