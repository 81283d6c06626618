"""Decides which requests may come in: by an API key, or without keys from this machine only. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from voicegw.errors import Forbidden, Unauthorized
from voicegw.security.addresses import Headers, is_loopback
from voicegw.security.keys import ANONYMOUS, ApiKey, ApiKeys

HOST = re.compile(rb"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{0,5})?")


PROXIED = frozenset({b"forwarded", b"x-real-ip", b"via", b"cf-connecting-ip"})


class Authenticator:
    """Decides who may come in.

    With keys, everybody who shows one. Without, only programs on this machine: `hosts` are further
    names that the gateway may be called by, `origins` the web pages that may call it. A tunnel, a proxy
    or a web page in somebody's browser would otherwise walk in through loopback.
    """

    def __init__(self, keys: ApiKeys, *, hosts: Collection[str] = (), origins: Collection[str] = ()) -> None:
        self._keys = keys
        self._hosts = frozenset(host.lower() for host in hosts)
        self._origins = frozenset(origin.lower() for origin in origins)

    def authenticate(self, headers: Headers) -> ApiKey:
        """The key that a request or a websocket handshake shows. Raises `Unauthorized` or `Forbidden`."""
        if self._keys:
            return self._unlock(headers)
        self._look(list(headers))
        return ANONYMOUS

    def _unlock(self, headers: Headers) -> ApiKey:
        shown = set(_shown(headers))
        if not shown:
            raise Unauthorized("No API key provided: send the header Authorization: Bearer YOUR_KEY.")
        if len(shown) > 1:
            raise Unauthorized("More than one API key provided.")
        key = self._keys.find(shown.pop())
        if key is None:
            raise Unauthorized("Incorrect API key provided.")
        return key

    def _look(self, headers: list[tuple[bytes, bytes]]) -> None:
        if any(name in PROXIED or name.startswith(b"x-forwarded-") for name, _ in headers):
            raise Forbidden("Without API keys, requests through a proxy or tunnel are refused.")
        hosts = [value for name, value in headers if name == b"host"]
        if len(hosts) != 1 or not self._known(hosts[0]):
            raise Forbidden("Without API keys, the Host header must name this machine or be in server.hosts.")
        own = {f"{scheme}://{hosts[0].decode('latin-1')}".lower() for scheme in ("http", "https")}
        for name, value in headers:
            if name == b"origin" and value.decode("latin-1").lower() not in self._origins | own:
                raise Forbidden("Without API keys, web pages must be listed in server.origins.")

    def _known(self, host: bytes) -> bool:
        match = HOST.fullmatch(host)
        if match is None:
            return False
        name = match[1].decode("ascii").lower()
        return name in self._hosts or is_loopback(name)


def _shown(headers: Headers) -> Iterator[str]:
    """Every secret in the headers."""
    for name, value in headers:
        if name == b"authorization":
            scheme, _, rest = value.strip().partition(b" ")
            secret = rest.strip() if scheme.lower() == b"bearer" else b""
        elif name == b"x-session-api-key":
            secret = value.strip()
        else:
            continue
        if secret:
            yield secret.decode("latin-1")


def require_loopback(scope: Mapping[str, Any]) -> None:
    """Let in who may come without any secret: programs on this machine. Raises `Forbidden`.

    The house may have keys and listen everywhere; so, unlike at the door, the peer's address counts too.
    """
    Authenticator(ApiKeys()).authenticate(scope["headers"])
    if not is_loopback((scope.get("client") or ("",))[0]):
        raise Forbidden("Without a secret of the platform, only this machine may call.")
