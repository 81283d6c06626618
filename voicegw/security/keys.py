"""API keys: their secrets, hashes and permissions. Pure.

No message repeats a key or the value of a header. Authentication of requests is in `authenticator`.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ApiKey:
    """One API key of the configuration (`[keys.NAME]`)."""

    name: str
    """The name in the configuration and in the log; "" for `ANONYMOUS`."""
    digest: bytes = field(repr=False)
    """The SHA-256 of the secret; the secret itself is not kept."""
    models: frozenset[str] | None = None
    """The names of the agents that the key may use; None for all."""
    dialect: str | None = None
    """The dialect of the key's clients; None for the agent's own."""
    requests_per_minute: int | None = None
    """The key's limit, 0 for no limit; None for the limit of the configuration."""
    concurrent_turns: int | None = None
    """The key's limit of turns at a time; None if only the limit of all keys together counts."""

    def allows(self, agent: str) -> bool:
        """May this key use the agent with this name?"""
        return self.models is None or agent in self.models


ANONYMOUS = ApiKey("", b"")
"""The key of all clients when the gateway has no keys."""


def encode_secret(text: str) -> bytes:
    """Return the secret as UTF-8, also with lone surrogates, so that any text can be hashed and compared."""
    return text.encode("utf-8", "surrogatepass")


def hash_secret(secret: str) -> bytes:
    """Return the SHA-256 of a secret. No salt is needed, because secrets are 32 random bytes."""
    return hashlib.sha256(encode_secret(secret)).digest()


def generate_key() -> tuple[str, str]:
    """Return a new secret for the client, and its `sha256:...` hash for the configuration."""
    secret = f"vgw_{secrets.token_urlsafe(32)}"
    return secret, f"sha256:{hash_secret(secret).hex()}"


class ApiKeys:
    """The API keys of the configuration. It is falsy if there are none."""

    def __init__(self, keys: Iterable[ApiKey] = ()) -> None:
        self._keys = tuple(keys)

    def __len__(self) -> int:
        return len(self._keys)

    def find(self, secret: str) -> ApiKey | None:
        """Return the key with this secret, or None.

        Every key is compared, in constant time, so that the duration reveals nothing.
        """
        digest = hash_secret(secret)
        found = None
        for key in self._keys:
            if hmac.compare_digest(key.digest, digest):
                found = key
        return found
