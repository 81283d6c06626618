"""Gates: what a platform has to show before its websocket is let in. Each refuses by raising `RequestError`."""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass, field

from starlette.types import Scope

from voicegw.errors import Forbidden, NotFound
from voicegw.security.authenticator import require_loopback
from voicegw.security.keys import encode_secret

CALL = re.compile(r"[A-Za-z0-9_-]{1,128}")
NOWHERE = "No calls are taken here."


@dataclass(frozen=True, slots=True)
class PathSecretAuth:
    """A platform that proves nothing itself: `/PLATFORM/SECRET/` and what follows stay between us.

    Without a secret the path has none, and only this machine may call.
    """

    named: bool
    """Does the path end with the call's id, or with "relay"?"""
    secret: str = field(default="", repr=False)

    def __call__(self, scope: Scope) -> str | None:
        _, _, *rest = scope["path"].removesuffix("/").split("/")
        if self.secret:
            shown = rest.pop(0) if rest else ""
            if not hmac.compare_digest(encode_secret(shown), encode_secret(self.secret)):
                raise Forbidden("The address does not hold the secret.")
        else:
            require_loopback(scope)
        if len(rest) != 1 or (rest[0] != "relay" and not self.named) or not CALL.fullmatch(rest[0]):
            raise NotFound(NOWHERE)
        return rest[0] if self.named else None
