"""Who may come in, from where, and how often.

Pure: headers and the time come as arguments. Every refusal is a `voicegw.errors.RequestError` and is
raised before a byte of the answer has left. No message ever repeats a key or a header's value.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ApiKey:
    """One key of the house. `digest` is that of its secret; the secret itself is not kept.

    `models` are the names of the agents it opens, None for all. `requests_per_minute` is its own
    limit, 0 for none; None means the limit that holds for every key.
    """

    name: str
    digest: bytes = field(repr=False)
    models: frozenset[str] | None = None
    dialect: str | None = None
    requests_per_minute: int | None = None

    def allows(self, agent: str) -> bool:
        """May this key use the agent of that name?"""
        return self.models is None or agent in self.models


ANONYMOUS = ApiKey("", b"")
"""Everybody, when there are no keys."""


def encode_secret(text: str) -> bytes:
    """Encode a secret as UTF-8, lone surrogates too, so that any text can be hashed and compared."""
    return text.encode("utf-8", "surrogatepass")


def digest(secret: str) -> bytes:
    """The SHA-256 of a secret; enough without salt, because our secrets are 32 random bytes."""
    return hashlib.sha256(encode_secret(secret)).digest()


def new_key() -> tuple[str, str]:
    """A fresh secret for the client, and the `sha256:...` hash of it for the configuration."""
    secret = f"vgw_{secrets.token_urlsafe(32)}"
    return secret, f"sha256:{digest(secret).hex()}"


class ApiKeys:
    """All keys of the house; false when there are none."""

    def __init__(self, keys: Iterable[ApiKey] = ()) -> None:
        self._keys = tuple(keys)

    def __len__(self) -> int:
        return len(self._keys)

    def find(self, secret: str) -> ApiKey | None:
        """The key with this secret. Compares with every key, so that the time taken tells nothing."""
        sought = digest(secret)
        found = None
        for key in self._keys:
            if hmac.compare_digest(key.digest, sought):
                found = key
        return found
