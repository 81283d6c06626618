"""The token by which ElevenLabs proves that it opened a Speech Engine socket.

Pure: the caller gives the API key and the time.
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
REGION = re.compile(r"_residency_[a-z0-9]+\Z")
"""What a key of a data residency ends in; it is no part of the secret."""
BEARER = "bearer "


def verify_token(value: str, api_key: str, now: float) -> bool:
    """Is `X-Elevenlabs-Speech-Engine-Authorization` a token signed with this API key, good at this time?

    `now` is in seconds of Unix time. The token's own header is not read: only one algorithm is possible.
    Without a key nothing is genuine, whatever it was signed with. Never raises.
    """
    token, key = value.strip(), REGION.sub("", api_key.strip())
    if token[: len(BEARER)].lower() == BEARER:
        token = token[len(BEARER) :].strip()
    parts = token.split(".")
    if len(parts) != 3 or not key:
        return False
    head, claims, signature = parts
    try:
        seal = hmac.digest(sha256(key.encode()).digest(), f"{head}.{claims}".encode(), "sha256")
        if not hmac.compare_digest(seal, _decoded(signature)):
            return False
        return _good(json.loads(_decoded(claims)), int(now))
    except (ValueError, RecursionError):
        return False


def _decoded(part: str) -> bytes:
    """Base64 of either alphabet, padded or not; what belongs to neither counts for nothing."""
    return urlsafe_b64decode(part + "=" * (-len(part) % 4))


def _good(claims: Any, now: int) -> bool:
    """Is this ElevenLabs' word to us, neither old nor of the future? A time that is no number is neither."""
    match claims:
        case {"iss": iss, "sub": sub, "exp": int() | float() as until, "iat": int() | float() as since}:
            return bool(iss == ISSUER and sub == SUBJECT and since - LEEWAY <= now <= until + LEEWAY)
    return False
