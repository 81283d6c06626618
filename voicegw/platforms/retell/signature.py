"""Verifies the signature of Retell's webhooks.

Pure: the caller passes the key and the time. Source: the official `retell-sdk`, `retell.lib.webhook_auth`.
"""

from __future__ import annotations

import hmac
import re

from voicegw.security.keys import encode_secret

HEADER = re.compile(r"v=([0-9]{1,16}),d=([0-9a-f]{64})")
MAX_AGE_MS = 5 * 60 * 1000
"""Milliseconds for which a signature is valid, before and after its own time."""


def verify_retell_signature(header: str, body: bytes, key: str, now_ms: int) -> bool:
    """Return whether the header `X-Retell-Signature` fits this raw body and is fresh. Never raises.

    `key` is the account's API key; without one no signature is valid. `now_ms` is Unix time in milliseconds.
    """
    found = HEADER.fullmatch(header)
    if found is None or not key or abs(now_ms - int(found[1])) > MAX_AGE_MS:
        return False
    signed = body + str(int(found[1])).encode()
    return hmac.compare_digest(hmac.new(encode_secret(key), signed, "sha256").hexdigest(), found[2])
