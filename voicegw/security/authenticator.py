"""Authentication of requests: by an API key, or without keys for clients on this machine only. Pure.

The proofs of platforms (signatures, tokens) are in `voicegw.platforms`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from voicegw.errors import Forbidden, Unauthorized
from voicegw.security.addresses import Headers, is_loopback
from voicegw.security.keys import ANONYMOUS, ApiKey, ApiKeys

HOST_PATTERN = re.compile(rb"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{0,5})?")
"""A Host header: a name or address, and perhaps a port."""

PROXY_HEADERS = frozenset(
    {
        *(b"forwarded", b"via", b"cdn-loop", b"x-real-ip", b"x-client-ip", b"x-cluster-client-ip"),
        *(b"true-client-ip", b"fastly-client-ip"),
    }
)
"""Headers that proxies, tunnels and content delivery networks add."""
PROXY_PREFIXES = (b"x-forwarded-", b"x-envoy-", b"cf-", b"tailscale-")
"""The beginnings of further ones."""


class Authenticator:
    """Authenticates requests and websocket handshakes.

    With keys, a request needs one of them. Without keys, only programs on this machine are served: `hosts`
    are further values of the Host header, `origins` the web pages that may call. Otherwise a tunnel, a proxy
    or a web page in a browser on this machine could call through loopback. A proxy on this machine that
    speaks HTTP/1.1, adds no header and sends its own Host looks like a program here: it is not recognized.
    """

    def __init__(self, keys: ApiKeys, *, hosts: Collection[str] = (), origins: Collection[str] = ()) -> None:
        self._keys = keys
        # Values of the Host header that are accepted besides this machine's, in lower case.
        self._hosts = frozenset(host.lower() for host in hosts)
        # Values of the Origin header that are accepted, in lower case.
        self._origins = frozenset(origin.lower() for origin in origins)

    def authenticate(self, headers: Headers, http_version: str = "1.1") -> ApiKey:
        """Return the API key of a request, or `ANONYMOUS` if the gateway has no keys.

        `http_version` is that of the request: without keys, HTTP/1.0 is refused, since only proxies use it.
        Raise Unauthorized unless the request has exactly one key and it is valid. Without configured keys,
        raise Forbidden for a request that may not come from this machine.
        """
        if self._keys:
            return self._find_key(headers)
        if http_version != "1.1":
            raise Forbidden("Without API keys, only HTTP/1.1 is served: proxies use older versions.")
        self._require_local(list(headers))
        return ANONYMOUS

    def _find_key(self, headers: Headers) -> ApiKey:
        secrets = set(_secrets(headers))
        if not secrets:
            raise Unauthorized("No API key provided: send the header Authorization: Bearer YOUR_KEY.")
        if len(secrets) > 1:
            raise Unauthorized("More than one API key provided.")
        key = self._keys.find(secrets.pop())
        if key is None:
            raise Unauthorized("Incorrect API key provided.")
        return key

    def _require_local(self, headers: list[tuple[bytes, bytes]]) -> None:
        if any(name in PROXY_HEADERS or name.startswith(PROXY_PREFIXES) for name, _ in headers):
            raise Forbidden("Without API keys, requests through a proxy or tunnel are refused.")
        hosts = [value for name, value in headers if name == b"host"]
        if len(hosts) != 1 or not self._is_allowed_host(hosts[0]):
            raise Forbidden("Without API keys, the Host header must name this machine or be in server.hosts.")
        own_origins = {f"{scheme}://{hosts[0].decode('latin-1')}".lower() for scheme in ("http", "https")}
        for name, value in headers:
            if name == b"origin" and value.decode("latin-1").lower() not in self._origins | own_origins:
                raise Forbidden("Without API keys, web pages must be listed in server.origins.")

    def _is_allowed_host(self, host: bytes) -> bool:
        match = HOST_PATTERN.fullmatch(host)
        if match is None:
            return False
        name = match[1].decode("ascii").lower()
        return name in self._hosts or is_loopback(name)


def _secrets(headers: Headers) -> Iterator[str]:
    """Yield the secrets in `authorization: Bearer` and `x-session-api-key`."""
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
    """Check that a connection without a secret comes from a program on this machine.

    The gateway may have keys and listen on all addresses; therefore the peer's address counts too, unlike in
    `Authenticator`. `scope` is the ASGI scope. Raise Forbidden for any other connection.
    """
    Authenticator(ApiKeys()).authenticate(scope["headers"], scope.get("http_version", "1.1"))
    if not is_loopback((scope.get("client") or ("",))[0]):
        raise Forbidden("Without a secret of the platform, only this machine may call.")
