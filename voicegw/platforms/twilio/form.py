"""Reads the forms that Twilio posts to webhooks, and verifies their signature.

Source: Twilio's documentation of webhook security; the tests sign with the official `twilio` library.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from starlette.types import Receive, Scope

from voicegw.asgi.body import read_body
from voicegw.asgi.webhook import MAX_BODY_BYTES, require_content_type
from voicegw.errors import BadRequest, Forbidden
from voicegw.platforms.twilio.signature import (
    signature_algorithm,
    signed_url_candidates,
    verify_twilio_signature,
)
from voicegw.security.authenticator import require_loopback

FORM = b"application/x-www-form-urlencoded"
MAX_FORM_FIELDS = 500
"""Fields of a form; Twilio sends a few dozen. A form with more is refused."""


@dataclass(frozen=True, slots=True)
class SignedForms:
    """Reads the forms of one account."""

    public_url: str = ""
    """The gateway's address as Twilio knows it, without a path; "" for the Host header of the request."""
    auth_token: str = field(default="", repr=False)
    """The account's auth token, for signatures with HMAC-SHA1; "" if it is not configured."""
    signing_key: str = field(default="", repr=False)
    """The shared key of signatures with HMAC-SHA256; "" if it is not configured."""

    @property
    def ticket_secret(self) -> str:
        """The secret that signs tickets; "" if none is configured: calls then have no ticket."""
        return self.auth_token or self.signing_key

    async def read(self, scope: Scope, receive: Receive) -> dict[str, str]:
        """Return the fields of a request that Twilio signed; the last value of each name counts.

        Raises `Forbidden` for a missing or wrong signature, and without a secret for a remote client.
        Raises `BadRequest` or `ContentTooLarge` for a body that is no form.
        """
        headers = dict(scope["headers"])
        if not self.ticket_secret:
            require_loopback(scope)
        elif b"x-twilio-signature" not in headers:
            raise Forbidden("The signature is missing.")
        require_content_type(FORM, headers)
        pairs = parse_form(await read_body(scope, receive, MAX_BODY_BYTES))
        if self.ticket_secret and not self._is_signed(scope, headers, pairs):
            raise Forbidden("The signature is wrong.")
        return dict(pairs)

    def base_url(self, scope: Scope) -> str:
        """Return the gateway's address without a path. A forged Host header fits no signature of Twilio's."""
        if self.public_url:
            return self.public_url
        host = next((value for name, value in scope["headers"] if name == b"host"), b"")
        return f"{scope['scheme']}://{host.decode('latin-1')}"

    def _is_signed(self, scope: Scope, headers: Mapping[bytes, bytes], pairs: list[tuple[str, str]]) -> bool:
        settings = headers.get(b"x-twilio-webhooks-signature-settings", b"").decode("latin-1")
        secret = self.auth_token if signature_algorithm(settings) == "HMAC_SHA1" else self.signing_key
        scheme, _, host = self.base_url(scope).partition("://")
        query = f"?{scope['query_string'].decode('latin-1')}" if scope["query_string"] else ""
        candidates = signed_url_candidates(scheme, host, scope["raw_path"], b"", websocket=False)
        urls = [url + query for url, _ in candidates]  # a POST keeps its query in the address
        return verify_twilio_signature(
            headers[b"x-twilio-signature"].decode("latin-1"), settings, urls, pairs, secret
        )


def parse_form(body: bytes) -> list[tuple[str, str]]:
    """Return the fields of a form as pairs, in order. Raises `BadRequest` for a body that is not a form."""
    try:
        return parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=True,
            errors="strict",
            max_num_fields=MAX_FORM_FIELDS,
        )
    except ValueError:
        raise BadRequest("The body is not a form.") from None
