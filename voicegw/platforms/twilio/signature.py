"""Signatures by which Retell and Twilio prove that a request comes from them.

Pure: the caller gives the secret and the time. Without a secret nothing is genuine.
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
"""The fields of a form or a query: pairs, or a value or several by name."""

HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:/?#@\[\]]+)(?::[0-9]*)?")
SECURE = frozenset({"https", "wss"})
SCHEMES = frozenset({"http", "ws"}) | SECURE
HASHES = {"HMAC_SHA1": "sha1", "HMAC_SHA256": "sha256"}


def algorithm(settings: str | None) -> str:
    """Which algorithm `X-Twilio-Webhooks-Signature-Settings` names: "HMAC_SHA1" where it names none.

    It also says which secret signed: the account's token with HMAC_SHA1, else the shared signing key.
    """
    for part in (settings or "").split(","):
        name, _, value = part.partition("=")
        if name.strip() == "algorithm" and value.strip():
            return value.strip().upper()
    return "HMAC_SHA1"


def verify_twilio_signature(
    signature: str, settings: str | None, urls: Sequence[str], params: Params, token: str
) -> bool:
    """Does `X-Twilio-Signature` fit one of these addresses with these fields?

    `params` are those of a form that was posted, none for a GET, whose query is part of the address.
    """
    hashed = HASHES.get(algorithm(settings))
    if hashed is None or not token:
        return False
    fields, given, secret = (
        encode_secret(_concatenated(params)),
        encode_secret(signature),
        encode_secret(token),
    )
    seals = [b64encode(hmac.digest(secret, encode_secret(url) + fields, hashed)) for url in urls]
    return any(hmac.compare_digest(seal, given) for seal in seals)


def signed_url_candidates(
    scheme: str, host: str, raw_path: bytes, query: bytes, *, websocket: bool
) -> list[tuple[str, tuple[tuple[str, str], ...]]]:
    """The addresses that Twilio may have signed, each with the fields to sign after it.

    With the query in the address, and without it but with its pairs as fields; with and without a port.
    `scheme` and `host` are those that Twilio used, `raw_path` and `query` as they came, still encoded.
    None for a scheme or host that makes no sense.
    """
    named = HOST.fullmatch(host)
    if named is None or scheme not in SCHEMES:
        return []
    secure = scheme in SECURE
    ports = [443] if secure else [80]
    if websocket:
        ports.append(80)  # Twilio's own library takes this for the port of wss
    kind = ("wss" if secure else "ws") if websocket else ("https" if secure else "http")
    hosts = dict.fromkeys([host, named[1], *(f"{named[1]}:{port}" for port in ports)])
    bases = [f"{kind}://{name}{raw_path.decode(errors='replace')}" for name in hosts]
    if not query:
        return [(base, ()) for base in bases]
    text = query.decode(errors="replace")
    pairs = tuple(parse_qsl(text, keep_blank_values=True))
    return [*((f"{base}?{text}", ()) for base in bases), *((base, pairs) for base in bases)]


def _concatenated(params: Params) -> str:
    """Names and values without anything between them, sorted; a value that comes twice counts once."""
    pairs = set()
    for name, values in params.items() if isinstance(params, Mapping) else params:
        pairs |= {(name, value) for value in ([values] if isinstance(values, str) else values)}
    return "".join(name + value for name, value in sorted(pairs))
