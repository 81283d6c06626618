"""Verifies the signatures of Twilio's webhooks and websocket handshakes.

Pure: the caller passes the secret. Without a secret no signature is valid. Source: the official `twilio`
library, `twilio.request_validator.RequestValidator`.
"""

from __future__ import annotations

import hmac
import re
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias
from urllib.parse import parse_qsl

from voicegw.security.keys import encode_secret

Params: TypeAlias = Mapping[str, str | Sequence[str]] | Iterable[tuple[str, str]]
"""The fields of a form or a query: pairs, or one or more values by name."""

HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:/?#@\[\]]+)(?::[0-9]*)?")
SECURE_SCHEMES = frozenset({"https", "wss"})
SCHEMES = frozenset({"http", "ws"}) | SECURE_SCHEMES
HASHES = {"HMAC_SHA1": "sha1", "HMAC_SHA256": "sha256"}


def signature_algorithm(settings: str | None) -> str:
    """Return the algorithm that `X-Twilio-Webhooks-Signature-Settings` names, "HMAC_SHA1" if it names none.

    The algorithm determines the secret: the account's auth token for HMAC_SHA1, else the shared signing key.
    """
    for part in (settings or "").split(","):
        name, _, value = part.partition("=")
        if name.strip() == "algorithm" and value.strip():
            return value.strip().upper()
    return "HMAC_SHA1"


def verify_twilio_signature(
    signature: str, settings: str | None, urls: Sequence[str], params: Params, token: str
) -> bool:
    """Return whether the header `X-Twilio-Signature` fits one of these addresses with these fields.

    `settings` is the header `X-Twilio-Webhooks-Signature-Settings`, None if it is missing. `params` are the
    fields of a POSTed form; a GET has none, since its query is a part of the address. `token` is the secret
    that belongs to `signature_algorithm(settings)`. Never raises.
    """
    hash_name = HASHES.get(signature_algorithm(settings))
    if hash_name is None or not token:
        return False
    fields, given, secret = (
        encode_secret(_concatenate(params)),
        encode_secret(signature),
        encode_secret(token),
    )
    expected = [b64encode(hmac.digest(secret, encode_secret(url) + fields, hash_name)) for url in urls]
    return any(hmac.compare_digest(one, given) for one in expected)


def signed_url_candidates(
    scheme: str, host: str, raw_path: bytes, query: bytes, *, websocket: bool
) -> list[tuple[str, tuple[tuple[str, str], ...]]]:
    """Return the addresses that Twilio may have signed, each with the fields that are signed behind it.

    The query is in the address, or its pairs are the fields; the address has a port or none. `scheme` and
    `host` are those that Twilio used; `raw_path` and `query` are percent-encoded, as received. Returns [] for
    an invalid scheme or host.
    """
    match = HOST.fullmatch(host)
    if match is None or scheme not in SCHEMES:
        return []
    secure = scheme in SECURE_SCHEMES
    ports = [443] if secure else [80]
    if websocket:
        ports.append(80)  # Twilio's own library takes 80 for the port of wss
    kind = ("wss" if secure else "ws") if websocket else ("https" if secure else "http")
    hosts = dict.fromkeys([host, match[1], *(f"{match[1]}:{port}" for port in ports)])
    bases = [f"{kind}://{name}{raw_path.decode(errors='replace')}" for name in hosts]
    if not query:
        return [(base, ()) for base in bases]
    text = query.decode(errors="replace")
    pairs = tuple(parse_qsl(text, keep_blank_values=True))
    return [*((f"{base}?{text}", ()) for base in bases), *((base, pairs) for base in bases)]


def _concatenate(params: Params) -> str:
    """Return names and values, sorted and without separators; a pair that is there twice counts once."""
    pairs = set()
    for name, values in params.items() if isinstance(params, Mapping) else params:
        pairs |= {(name, value) for value in ([values] if isinstance(values, str) else values)}
    return "".join(name + value for name, value in sorted(pairs))
