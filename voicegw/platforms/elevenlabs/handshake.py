"""Authenticates the websocket handshakes of ElevenLabs by their token."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from starlette.types import Scope

from voicegw.calls.path_secret import NOWHERE
from voicegw.errors import NotFound, Unauthorized
from voicegw.platforms.elevenlabs.token import verify_token
from voicegw.security.authenticator import require_loopback

TOKEN = b"x-elevenlabs-speech-engine-authorization"


@dataclass(frozen=True, slots=True)
class ElevenLabsTokenAuth:
    """ElevenLabs': it shows a token that it signed with the account's API key.

    `now` is the time of day in seconds since 1970. Without a key, only this machine may call.
    """

    api_key: str = field(default="", repr=False)
    now: Callable[[], float] = time.time

    def __call__(self, scope: Scope) -> None:
        if scope["path"] != "/elevenlabs/speech-engine":
            raise NotFound(NOWHERE)
        if not self.api_key:
            return require_loopback(scope)
        shown = [value for name, value in scope["headers"] if name == TOKEN]
        if not shown:
            raise Unauthorized("The token is missing.")
        if len(shown) > 1 or not verify_token(shown[0].decode("latin-1"), self.api_key, self.now()):
            raise Unauthorized("The token is wrong.")
        return None
