"""Tickets: the answer to a call's web hook gives one, and the call's socket shows it.

Pure: the caller gives the secret and the time. Times are in seconds since 1970, so that another process,
or another machine behind the same address, reads them alike.
"""

from __future__ import annotations

import hashlib
import hmac
import re

from voicegw.security.keys import encode_secret

PARAMETER = "voicegw"
"""What the ticket is called among a call's parameters."""
GOOD_FOR = 4 * 3600.0
"""Seconds, as long as a call may last: one that comes back to another process shows its ticket again."""
TICKET = re.compile(r"([0-9]{1,15})\.([0-9a-f]{64})")


def issue(secret: str, call: str, now: float, ttl: float = GOOD_FOR) -> str:
    """A ticket for this call, good for `ttl` seconds from now."""
    until = int((now + ttl) * 1000)
    return f"{until}.{_seal(secret, call, until)}"


def verify(secret: str, ticket: str, call: str, now: float) -> bool:
    """Is it ours, for this call and still good? Never raises; without a secret no ticket is ours."""
    found = TICKET.fullmatch(ticket)
    if found is None or not secret:
        return False
    until = int(found[1])
    return hmac.compare_digest(_seal(secret, call, until), found[2]) and now * 1000 <= until


def _seal(secret: str, call: str, until: int) -> str:
    """The purpose is sealed in: the same secret may sign other things too."""
    sealed = f"voicegw ticket {until} {call}"
    return hmac.new(encode_secret(secret), encode_secret(sealed), hashlib.sha256).hexdigest()
