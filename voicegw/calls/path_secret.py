"""Authenticates websocket handshakes by a secret in their path, for platforms that sign nothing.

It does not compare tickets or signatures: those are in the platforms' folders.
"""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass, field

from starlette.types import Scope

from voicegw.errors import Forbidden, NotFound
from voicegw.security.authenticator import require_loopback
from voicegw.security.keys import encode_secret

CALL_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
NO_CALLS_HERE = "No calls are taken here."


@dataclass(frozen=True, slots=True)
class PathSecretAuth:
    """Accepts `/PLATFORM/SECRET/CALL_ID` or `/PLATFORM/SECRET/relay`; without a secret, the path has none."""

    path_names_call: bool
    """True if the path ends with the call's id, False if it ends with "relay"."""
    secret: str = field(default="", repr=False)
    """The secret path segment; "" accepts connections from this machine only."""

    def __call__(self, scope: Scope) -> str | None:
        """Return the call's id, None if the path does not name it.

        Raises `Forbidden` for a wrong secret and, if none is configured, for a remote client. Raises
        `NotFound` for another path. The secret is compared in constant time.
        """
        _, _, *segments = scope["path"].removesuffix("/").split("/")
        if self.secret:
            given = segments.pop(0) if segments else ""
            if not hmac.compare_digest(encode_secret(given), encode_secret(self.secret)):
                raise Forbidden("The address does not hold the secret.")
        else:
            require_loopback(scope)
        if (
            len(segments) != 1
            or (segments[0] != "relay" and not self.path_names_call)
            or not CALL_ID.fullmatch(segments[0])
        ):
            raise NotFound(NO_CALLS_HERE)
        return segments[0] if self.path_names_call else None
