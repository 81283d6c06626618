"""Issues and verifies tickets: the answer to a call's webhook holds one, and the call's socket returns it.

Pure: the caller passes the secret and the time. Times are Unix time in seconds, so that another process, or
another machine behind the same address, reads them alike.
"""

from __future__ import annotations

import hashlib
import hmac
import re

from voicegw.security.keys import encode_secret

PARAMETER = "voicegw"
"""The custom parameter of a call that holds its ticket."""
RESUMED_PARAMETER = "voicegw-resumed"
"""The custom parameter of a call that is connected again, with the reason."""
TICKET_TTL = 4 * 3600.0
"""Seconds, as long as a call may last: a call that reconnects to another process shows its ticket again."""
TICKET = re.compile(r"([0-9]{1,15})\.([0-9a-f]{64})")
"""The expiry in milliseconds of Unix time, and the signature."""


def issue(secret: str, call_id: str, now: float, ttl: float = TICKET_TTL) -> str:
    """Return a ticket for this call that expires `ttl` seconds after `now`."""
    expiry_ms = int((now + ttl) * 1000)
    return f"{expiry_ms}.{_sign(secret, call_id, expiry_ms)}"


def verify(secret: str, ticket: str, call_id: str, now: float) -> bool:
    """Return whether the ticket was issued with this secret for this call, and has not expired at `now`.

    Without a secret no ticket is valid. Never raises.
    """
    found = TICKET.fullmatch(ticket)
    if found is None or not secret:
        return False
    expiry_ms = int(found[1])
    return hmac.compare_digest(_sign(secret, call_id, expiry_ms), found[2]) and now * 1000 <= expiry_ms


def _sign(secret: str, call_id: str, expiry_ms: int) -> str:
    # The purpose is a part of the text, because the same secret signs other things too.
    text = f"voicegw ticket {expiry_ms} {call_id}"
    return hmac.new(encode_secret(secret), encode_secret(text), hashlib.sha256).hexdigest()
