"""Authenticates Twilio's websocket handshakes by their signature.

The signature itself is computed in `voicegw.platforms.twilio.signature`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from starlette.types import Scope

from voicegw.calls.path_secret import NO_CALLS_HERE
from voicegw.errors import Forbidden, NotFound
from voicegw.platforms.twilio.signature import (
    signature_algorithm,
    signed_url_candidates,
    verify_twilio_signature,
)
from voicegw.security.authenticator import require_loopback


@dataclass(frozen=True, slots=True)
class TwilioSignatureAuth:
    """Accepts `/twilio/relay` from Twilio, which signs the address that it connects to."""

    public_url: str = ""
    """The gateway's address as Twilio knows it, without a path; "" for the Host header of the handshake."""
    auth_token: str = field(default="", repr=False)
    """The account's auth token, for signatures with HMAC-SHA1."""
    signing_key: str = field(default="", repr=False)
    """The shared key of signatures with HMAC-SHA256. Without either secret, only this machine may connect."""

    def __call__(self, scope: Scope) -> None:
        """Return None for a signed handshake: the path does not name the call.

        Raises `Forbidden` for a missing or wrong signature, or for a remote client if no secret is
        configured. Raises `NotFound` for another path.
        """
        if scope["path"] != "/twilio/relay":
            raise NotFound(NO_CALLS_HERE)
        if not (self.auth_token or self.signing_key):
            return require_loopback(scope)
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        signature = headers.get(b"x-twilio-signature")
        if signature is None:
            raise Forbidden("The signature is missing.")
        settings = headers.get(b"x-twilio-webhooks-signature-settings")
        if not self._is_valid(signature, settings, scope, headers):
            raise Forbidden("The signature is wrong.")
        return None

    def _is_valid(
        self, signature: str, settings: str | None, scope: Scope, headers: dict[bytes, str]
    ) -> bool:
        secret = self.auth_token if signature_algorithm(settings) == "HMAC_SHA1" else self.signing_key
        base_url = self.public_url or f"{scope['scheme']}://{headers.get(b'host', '')}"
        scheme, _, host = base_url.partition("://")
        candidates = signed_url_candidates(
            scheme, host, scope["raw_path"], scope["query_string"], websocket=True
        )
        return any(
            verify_twilio_signature(signature, settings, [url], fields, secret) for url, fields in candidates
        )
