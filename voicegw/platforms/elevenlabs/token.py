"""Verifies the token with which ElevenLabs opens a Speech Engine socket: a JWT with HS256.

Pure: the caller passes the API key and the time. Source: the official `elevenlabs` library,
`elevenlabs.speech_engine.resource.verify_speech_engine_jwt`.
"""

from __future__ import annotations

import hmac
import json
import re
from base64 import urlsafe_b64decode
from hashlib import sha256
from typing import Any

ISSUER = "https://api.elevenlabs.io/convai/speech-engine"
SUBJECT = "convai_speech_engine_upstream"
LEEWAY = 60
"""Seconds by which the clocks may differ, either way."""
RESIDENCY_SUFFIX = re.compile(r"_residency_[a-z0-9]+\Z")
"""The end of an API key with data residency; it is no part of the secret."""
BEARER = "bearer "


def verify_token(value: str, api_key: str, now: float) -> bool:
    """Return whether the token was signed with this API key by ElevenLabs, and is valid at this time.

    `value` is the header `X-Elevenlabs-Speech-Engine-Authorization`, with or without "Bearer". `now` is Unix
    time in seconds. The header of the token is not read, because one algorithm alone is accepted. Without a
    key no token is valid. Never raises.
    """
    token, key = value.strip(), RESIDENCY_SUFFIX.sub("", api_key.strip())
    if token[: len(BEARER)].lower() == BEARER:
        token = token[len(BEARER) :].strip()
    parts = token.split(".")
    if len(parts) != 3 or not key:
        return False
    head, claims, signature = parts
    try:
        expected = hmac.digest(sha256(key.encode()).digest(), f"{head}.{claims}".encode(), "sha256")
        if not hmac.compare_digest(expected, _decode_base64(signature)):
            return False
        return _are_claims_valid(json.loads(_decode_base64(claims)), int(now))
    except (ValueError, RecursionError):
        return False


def _decode_base64(part: str) -> bytes:
    """Decode Base64 of either alphabet, padded or not; skip other characters, as the library does."""
    return urlsafe_b64decode(part + "=" * (-len(part) % 4))


def _are_claims_valid(claims: Any, now: int) -> bool:
    """Return whether issuer, subject and times fit. A NaN fits no time."""
    match claims:
        case {"iss": iss, "sub": sub, "exp": int() | float() as expiry, "iat": int() | float() as issued}:
            return bool(iss == ISSUER and sub == SUBJECT and issued - LEEWAY <= now <= expiry + LEEWAY)
    return False
