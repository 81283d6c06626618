"""Authenticates the websocket handshakes of Twilio by their signature."""

from __future__ import annotations

from dataclasses import dataclass, field

from starlette.types import Scope

from voicegw.calls.path_secret import NOWHERE
from voicegw.errors import Forbidden, NotFound
from voicegw.platforms.twilio.signature import algorithm, signed_url_candidates, verify_twilio_signature
from voicegw.security.authenticator import require_loopback


@dataclass(frozen=True, slots=True)
class TwilioSignatureAuth:
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
            return require_loopback(scope)
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
        found = signed_url_candidates(scheme, host, scope["raw_path"], scope["query_string"], websocket=True)
        return any(
            verify_twilio_signature(signature, settings, [url], fields, secret) for url, fields in found
        )
