"""Who may come in, from where, and how often.

Pure: headers and the time come as arguments. Every refusal is a `voicegw.errors.Refused` and is
raised before a byte of the answer has left. No message ever repeats a key or a header's value.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import TypeAlias

from voicegw.errors import Busy, Forbidden, Unauthorized

Headers: TypeAlias = Iterable[tuple[bytes, bytes]]
"""Header pairs as ASGI gives them: names in lower case."""

Network: TypeAlias = IPv4Network | IPv6Network

HOST = re.compile(rb"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{0,5})?")
SLACK = 1e-6  # seconds; sums of sixtieths are not exact
PROXIED = frozenset({b"forwarded", b"x-real-ip", b"via", b"cf-connecting-ip"})


@dataclass(frozen=True, slots=True)
class Key:
    """One key of the house. `digest` is that of its secret; the secret itself is not kept.

    `models` are the names of the agents it opens, None for all. `requests_per_minute` is its own
    limit, 0 for none; None means the limit that holds for every key.
    """

    name: str
    digest: bytes = field(repr=False)
    models: frozenset[str] | None = None
    dialect: str | None = None
    requests_per_minute: int | None = None

    def opens(self, agent: str) -> bool:
        """May this key use the agent of that name?"""
        return self.models is None or agent in self.models


ANONYMOUS = Key("", b"")
"""Everybody, when there are no keys."""


def digest(secret: str) -> bytes:
    """The SHA-256 of a secret; enough without salt, because our secrets are 32 random bytes."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def new_key() -> tuple[str, str]:
    """A fresh secret for the client, and the `sha256:...` hash of it for the configuration."""
    secret = f"vgw_{secrets.token_urlsafe(32)}"
    return secret, f"sha256:{digest(secret).hex()}"


class Keys:
    """All keys of the house; false when there are none."""

    def __init__(self, keys: Iterable[Key] = ()) -> None:
        self._keys = tuple(keys)

    def __len__(self) -> int:
        return len(self._keys)

    def find(self, secret: str) -> Key | None:
        """The key with this secret. Compares with every key, so that the time taken tells nothing."""
        sought = digest(secret)
        found = None
        for key in self._keys:
            if hmac.compare_digest(key.digest, sought):
                found = key
        return found


def address(text: str) -> IPv4Address | IPv6Address | None:
    """An IP address, an IPv4 one mapped into IPv6 as plain IPv4; None for anything else."""
    try:
        found = ip_address(text)
    except ValueError:
        return None
    if isinstance(found, IPv6Address):
        # A zone ("%eth0") is free text and means something on one machine only.
        return None if found.scope_id is not None else found.ipv4_mapped or found
    return found


def loopback(host: str) -> bool:
    """Does this name or address, without a port, always mean this machine?"""
    name = host.lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    found = address(name.removeprefix("[").removesuffix("]"))
    return found is not None and found.is_loopback


class Door:
    """Decides who may come in.

    With keys, everybody who shows one. Without, only programs on this machine: `hosts` are further
    names that the gateway may be called by, `origins` the web pages that may call it. A tunnel, a proxy
    or a web page in somebody's browser would otherwise walk in through loopback.
    """

    def __init__(self, keys: Keys, *, hosts: Collection[str] = (), origins: Collection[str] = ()) -> None:
        self._keys = keys
        self._hosts = frozenset(host.lower() for host in hosts)
        self._origins = frozenset(origin.lower() for origin in origins)

    def admit(self, headers: Headers) -> Key:
        """The key that a request or a websocket handshake shows. Raises `Unauthorized` or `Forbidden`."""
        if self._keys:
            return self._unlock(headers)
        self._look(list(headers))
        return ANONYMOUS

    def _unlock(self, headers: Headers) -> Key:
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
        return name in self._hosts or loopback(name)


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


class Limits:
    """Counts the turns that run, and spaces those of each key over the minute.

    `concurrent_turns` and `requests_per_minute` (0 for no limit) are those of the whole gateway; each of
    its `workers` processes keeps to its share, at least 1. A key may spend a whole minute's requests
    in one burst. Remembers one number per key that came by, and keys come from the configuration.
    """

    def __init__(self, concurrent_turns: int, requests_per_minute: int = 0, *, workers: int = 1) -> None:
        self.turns = 0
        self._most = max(1, concurrent_turns // workers)
        self._rate = requests_per_minute
        self._workers = workers
        self._free: dict[str, float] = {}  # when the key's bucket will be full again

    def begin(self, key: Key, now: float) -> None:
        """A turn begins, or `Busy` says after how many seconds to try again; then nothing is counted."""
        if self.turns >= self._most:
            raise Busy("Too many turns at once: try again in a second.", after=1.0)
        self._spend(key, now)
        self.turns += 1

    def end(self) -> None:
        """A turn that `begin` let in has ended."""
        self.turns -= 1

    def _spend(self, key: Key, now: float) -> None:
        rate = self._rate if key.requests_per_minute is None else key.requests_per_minute
        if not rate:
            return
        each = 60 / max(1, rate // self._workers)
        free = max(now, self._free.get(key.name, now)) + each
        if free > now + 60 + SLACK:
            raise Busy("Too many requests in a minute for this API key.", after=free - now - 60)
        self._free[key.name] = free


def client_address(peer: str, headers: Headers, trusted: Collection[Network]) -> str:
    """The address of the client: the peer's own, unless the peer is a trusted proxy.

    Then it is the right-most entry of X-Forwarded-For that is no trusted proxy itself. What stands
    further left was written by strangers; so was all that stands left of an entry we cannot read.
    """
    last = address(peer) if trusted else None
    if last is None or not _within(last, trusted):
        return peer
    lines = [value.decode("latin-1") for name, value in headers if name == b"x-forwarded-for"]
    for entry in reversed(",".join(lines).split(",")):
        found = address(_without_port(entry.strip()))
        if found is None:
            break
        last = found
        if not _within(last, trusted):
            break
    return str(last)


def _within(found: IPv4Address | IPv6Address, networks: Collection[Network]) -> bool:
    return any(found in network for network in networks)


def _without_port(entry: str) -> str:
    """Some proxies write `192.0.2.1:5555` or `[2001:db8::1]:5555`."""
    if entry.startswith("["):
        return entry[1:].partition("]")[0]
    return entry.partition(":")[0] if entry.count(":") == 1 else entry
