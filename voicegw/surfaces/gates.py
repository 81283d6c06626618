"""Gates: what a platform has to show before its websocket is let in. Each refuses by raising `Refused`."""

from __future__ import annotations

import hmac
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from starlette.types import Scope

from voicegw.errors import Forbidden, NotFound, Unauthorized
from voicegw.surfaces.hooks import admit_local
from voicegw.wire.jwt import speech_engine_signed
from voicegw.wire.signatures import algorithm, handshake_urls, twilio_signed

Gate: TypeAlias = Callable[[Scope], str | None]
"""Gives the platform's id of the call where the path tells it."""

CALL = re.compile(r"[A-Za-z0-9_-]{1,128}")
NOWHERE = "No calls are taken here."
TOKEN = b"x-elevenlabs-speech-engine-authorization"


@dataclass(frozen=True, slots=True)
class SignedGate:
    """Twilio's: it signs the address that it calls.

    `public_url` is our address as Twilio knows it, that of the handshake if empty. `token` and
    `signing_key` are the secrets of the two kinds of signatures; with neither, only this machine may call.
    """

    public_url: str = ""
    token: str = field(default="", repr=False)
    signing_key: str = field(default="", repr=False)

    def __call__(self, scope: Scope) -> None:
        if scope["path"] != "/twilio/relay":
            raise NotFound(NOWHERE)
        if not (self.token or self.signing_key):
            return admit_local(scope)
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        signature = headers.get(b"x-twilio-signature")
        if signature is None:
            raise Forbidden("The signature is missing.")
        if not self._fits(signature, headers.get(b"x-twilio-webhooks-signature-settings"), scope, headers):
            raise Forbidden("The signature is wrong.")
        return None

    def _fits(self, signature: str, settings: str | None, scope: Scope, headers: dict[bytes, str]) -> bool:
        secret = self.token if algorithm(settings) == "HMAC_SHA1" else self.signing_key
        called = self.public_url or f"{scope['scheme']}://{headers.get(b'host', '')}"
        scheme, _, host = called.partition("://")
        found = handshake_urls(scheme, host, scope["raw_path"], scope["query_string"], websocket=True)
        return any(twilio_signed(signature, settings, [url], fields, secret) for url, fields in found)


@dataclass(frozen=True, slots=True)
class SecretGate:
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
            if not hmac.compare_digest(_bytes(shown), _bytes(self.secret)):
                raise Forbidden("The address does not hold the secret.")
        else:
            admit_local(scope)
        if len(rest) != 1 or (rest[0] != "relay" and not self.named) or not CALL.fullmatch(rest[0]):
            raise NotFound(NOWHERE)
        return rest[0] if self.named else None


@dataclass(frozen=True, slots=True)
class TokenGate:
    """ElevenLabs': it shows a token that it signed with the account's API key.

    `now` is the time of day in seconds since 1970. Without a key, only this machine may call.
    """

    api_key: str = field(default="", repr=False)
    now: Callable[[], float] = time.time

    def __call__(self, scope: Scope) -> None:
        if scope["path"] != "/elevenlabs/speech-engine":
            raise NotFound(NOWHERE)
        if not self.api_key:
            return admit_local(scope)
        shown = [value for name, value in scope["headers"] if name == TOKEN]
        if not shown:
            raise Unauthorized("The token is missing.")
        if len(shown) > 1 or not speech_engine_signed(shown[0].decode("latin-1"), self.api_key, self.now()):
            raise Unauthorized("The token is wrong.")
        return None


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
