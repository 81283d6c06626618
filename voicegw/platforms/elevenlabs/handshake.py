"""Authenticates the websocket handshakes of ElevenLabs by their token.

The token itself is verified in `voicegw.platforms.elevenlabs.token`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from starlette.types import Scope

from voicegw.calls.path_secret import NO_CALLS_HERE
from voicegw.errors import NotFound, Unauthorized
from voicegw.platforms.elevenlabs.token import verify_token
from voicegw.security.authenticator import require_loopback

TOKEN_HEADER = b"x-elevenlabs-speech-engine-authorization"


@dataclass(frozen=True, slots=True)
class ElevenLabsTokenAuth:
    """Accepts `/elevenlabs/speech-engine` from ElevenLabs, which signs a token with the account's API key."""

    api_key: str = field(default="", repr=False)
    """The account's API key; "" accepts connections from this machine only."""
    now: Callable[[], float] = time.time
    """Returns Unix time in seconds."""

    def __call__(self, scope: Scope) -> None:
        """Return None for a valid token: the path does not name the call.

        Raises `Unauthorized` for a missing, wrong or second token, `Forbidden` for a remote client if no key
        is configured, and `NotFound` for another path.
        """
        if scope["path"] != "/elevenlabs/speech-engine":
            raise NotFound(NO_CALLS_HERE)
        if not self.api_key:
            return require_loopback(scope)
        tokens = [value for name, value in scope["headers"] if name == TOKEN_HEADER]
        if not tokens:
            raise Unauthorized("The token is missing.")
        if len(tokens) > 1 or not verify_token(tokens[0].decode("latin-1"), self.api_key, self.now()):
            raise Unauthorized("The token is wrong.")
        return None
