"""Verifies the signature of Retell's webhooks. Pure."""

from __future__ import annotations

import hmac
import re

from voicegw.security.keys import encode_secret

RETELL = re.compile(r"v=([0-9]{1,16}),d=([0-9a-f]{64})")


FRESH = 5 * 60 * 1000
"""Milliseconds for which Retell's signature is good, before and after its time."""


def verify_retell_signature(header: str, body: bytes, key: str, now_ms: int) -> bool:
    """Does `X-Retell-Signature` fit this raw body, and is it fresh? `key` is the API key."""
    found = RETELL.fullmatch(header)
    if found is None or not key or abs(now_ms - int(found[1])) > FRESH:
        return False
    sealed = body + str(int(found[1])).encode()
    return hmac.compare_digest(hmac.new(encode_secret(key), sealed, "sha256").hexdigest(), found[2])
