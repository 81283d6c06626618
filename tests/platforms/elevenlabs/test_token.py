"""Tokens of ElevenLabs' Speech Engine, compared with the official library."""

from __future__ import annotations

import hmac
import json
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from hashlib import sha256
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from voicegw.platforms.elevenlabs.token import verify_token

KEY, NOW = "sk_0123456789abcdef", 1_763_640_000
CLAIMS: dict[str, Any] = {
    "iss": "https://api.elevenlabs.io/convai/speech-engine",
    "sub": "convai_speech_engine_upstream",
    "exp": NOW + 300,
    "iat": NOW,
}
HEAD = '{"alg":"HS256","typ":"JWT"}'
RECORDED_TOKEN = (
    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9."
    "eyJpc3MiOiJodHRwczovL2FwaS5lbGV2ZW5sYWJzLmlvL2NvbnZhaS9zcGVlY2gtZW5naW5lIiwic3ViIjoiY29udmFpX3NwZWVja"
    "F9lbmdpbmVfdXBzdHJlYW0iLCJleHAiOjE3NjM2NDAzMDAsImlhdCI6MTc2MzY0MDAwMH0."
    "O1i9hTKRRnlEGhlJSXlxh-Xpm-BTRsDfw1eXgjJbXyg"
)
"""Signed by openssl, with the SHA-256 of the key as the secret."""


def base64(data: bytes) -> str:
    return urlsafe_b64encode(data).decode().rstrip("=")


def token(
    claims: Any = CLAIMS, *, key: str = KEY, head: str = HEAD, encode: Callable[[bytes], str] = base64
) -> str:
    """Return a token as ElevenLabs signs it; `claims` may be any JSON, or raw bytes."""
    data = claims if isinstance(claims, bytes) else json.dumps(claims, separators=(",", ":")).encode()
    return sign(f"{encode(head.encode())}.{encode(data)}", key, encode)


def sign(text: str, key: str = KEY, encode: Callable[[bytes], str] = base64) -> str:
    """Return a text with a dot and its signature."""
    return f"{text}.{encode(hmac.digest(sha256(key.encode()).digest(), text.encode(), 'sha256'))}"


def token_with(**claims: Any) -> str:
    return token({**CLAIMS, **claims})


def token_without(name: str) -> str:
    return token({key: value for key, value in CLAIMS.items() if key != name})


def padded_base64(data: bytes) -> str:
    return urlsafe_b64encode(data).decode()


def standard_base64(data: bytes) -> str:
    return b64encode(data).decode()


def broken_base64(data: bytes) -> str:
    """Base64 in lines, with characters of no alphabet between them."""
    text = urlsafe_b64encode(data).decode()
    return "\n".join(text[at : at + 8] for at in range(0, len(text), 8)) + " !!"


VALID_TOKEN = token()
UNSIGNED_PART, SIGNATURE = VALID_TOKEN.rpartition(".")[::2]
VALID_TOKENS = {
    "as it is sent": VALID_TOKEN,
    "with its scheme": f"Bearer {VALID_TOKEN}",
    "with its scheme in any case": f"bEARER   {VALID_TOKEN}",
    "with space around it": f" \t{VALID_TOKEN}\r\n",
    "with its scheme and space around it": f"  Bearer \u00a0 {VALID_TOKEN} \n",
    "padded": token(encode=padded_base64),
    "in the other alphabet": token({**CLAIMS, "x": "\u00bf\u00be?>~\u00ff"}, encode=standard_base64),
    "with what belongs to no alphabet": token({**CLAIMS, "x": "abcdefghijk"}, encode=broken_base64),
    "with too much padding": VALID_TOKEN + "=====",
    "with a header that says nothing": token(head=""),
    "with a header that is no JSON": token(head="none"),
    "with a header of another algorithm": token(head='{"alg":"none"}'),
    "with more claims": token_with(aud=["x"], nbf=NOW + 900),
    "with a claim said twice": token(json.dumps(CLAIMS).encode()[:-1] + b',"exp":%d}' % (NOW + 1)),
    "in UTF-16": token(json.dumps(CLAIMS).encode("utf-16")),
    "with a byte order mark": token(json.dumps(CLAIMS).encode("utf-8-sig")),
    "with half an emoji": token_with(x="\ud83d"),
    "expired by 59 seconds": token_with(exp=NOW - 59),
    "expired by 60 seconds": token_with(exp=NOW - 60),
    "59 seconds ahead": token_with(iat=NOW + 59),
    "60 seconds ahead": token_with(iat=NOW + 60),
    "with fractions of seconds": token_with(exp=NOW - 59.5, iat=NOW + 59.5),
    "issued at True": token_with(iat=True),
    "issued never": token_with(iat=float("-inf")),
    "for ever": token_with(exp=float("inf")),
    "for a long time": token_with(exp=10**4000),
}
INVALID_TOKENS = {
    "nothing": "",
    "a scheme": "Bearer",
    "a scheme and a space": "Bearer ",
    "two schemes": f"Bearer Bearer {VALID_TOKEN}",
    "another scheme": f"Basic {VALID_TOKEN}",
    "a scheme without a space": f"Bearer\t{VALID_TOKEN}",
    "one part": "x",
    "two parts": UNSIGNED_PART,
    "four parts": f"{VALID_TOKEN}.x",
    "four parts, signed": sign(f"{UNSIGNED_PART}.x"),
    "three empty parts": "..",
    "no signature": f"{UNSIGNED_PART}.",
    "half a signature": f"{UNSIGNED_PART}.{SIGNATURE[:20]}",
    "a signature that is no Base64": f"{UNSIGNED_PART}.{SIGNATURE[:41]}",
    "a signature beyond ASCII": f"{UNSIGNED_PART}.{SIGNATURE}é",
    "a signature in hexadecimal": f"{UNSIGNED_PART}.{hmac.digest(b'x', b'x', 'sha256').hex()}",
    "another key": token(key="sk_other"),
    "the key itself as the secret": ".".join(
        (UNSIGNED_PART, base64(hmac.digest(KEY.encode(), UNSIGNED_PART.encode(), "sha256")))
    ),
    "another header under the same signature": f"x{VALID_TOKEN}",
    "claims exchanged": ".".join(
        (UNSIGNED_PART.split(".")[0], token_with(exp=NOW + 301).split(".")[1], SIGNATURE)
    ),
    "the other alphabet after it was signed": f"{UNSIGNED_PART}=.{SIGNATURE}",
    "half an emoji in the header": f"\ud83d{VALID_TOKEN}",
    "expired by 61 seconds": token_with(exp=NOW - 61),
    "expired by a fraction more than 60 seconds": token_with(exp=NOW - 60.5),
    "61 seconds ahead": token_with(iat=NOW + 61),
    "a fraction more than 60 seconds ahead": token_with(iat=NOW + 60.5),
    "expired at True": token_with(exp=True),
    "issued for ever ahead": token_with(iat=float("inf")),
    "expired for ever": token_with(exp=float("-inf")),
    "of a time that is too long": token(json.dumps(CLAIMS).encode()[:-1] + b',"exp":' + b"9" * 5000 + b"}"),
    "another issuer": token_with(iss="https://api.elevenlabs.io/convai/speech-engine/"),
    "an issuer in a list": token_with(iss=[CLAIMS["iss"]]),
    "another subject": token_with(sub="convai_speech_engine_downstream"),
    "a subject that is none": token_with(sub=None),
    "a time in quotes": token_with(exp=str(NOW + 300)),
    "a time that is null": token_with(iat=None),
    "a time in a list": token_with(exp=[NOW + 300]),
    **{f"no {name}": token_without(name) for name in CLAIMS},
    "no claims": token(b""),
    "claims that are no JSON": token(b"{"),
    "claims in no encoding": token(b'{"iss":"\xff"}'),
    "claims that are no Base64": sign(f"{UNSIGNED_PART.split('.')[0]}.x"),
    "claims beyond ASCII": sign(f"{UNSIGNED_PART.split('.')[0]}.é"),
    "claims too deep": token(b"[" * 100_000),
    **{f"claims that are {claims!r}": token(claims) for claims in ([], [CLAIMS], "x", 7, None, True)},
}


def is_accepted_by_library(value: str, key: str = KEY, now: float = NOW) -> bool:
    """Return whether ElevenLabs' own library accepts the token; any exception is a refusal."""
    resource: Any = pytest.importorskip(
        "elevenlabs.speech_engine.resource", reason="elevenlabs is not installed"
    )
    with patch.object(resource.time, "time", lambda: now):
        try:
            resource.verify_speech_engine_jwt(value, key)
        except Exception:
            return False
    return True


def test_token_fits_its_key_and_its_time() -> None:
    assert verify_token(RECORDED_TOKEN, KEY, NOW)
    assert not verify_token(RECORDED_TOKEN, KEY + "x", NOW)
    assert not verify_token(RECORDED_TOKEN, KEY, NOW + 361)
    assert not verify_token(RECORDED_TOKEN, KEY, NOW - 61)


@pytest.mark.parametrize("value", VALID_TOKENS.values(), ids=VALID_TOKENS)
def test_valid_token_is_accepted(value: str) -> None:
    assert verify_token(value, KEY, NOW)
    assert is_accepted_by_library(value)


@pytest.mark.parametrize("value", INVALID_TOKENS.values(), ids=INVALID_TOKENS)
def test_invalid_token_is_refused(value: str) -> None:
    assert not verify_token(value, KEY, NOW)
    assert not is_accepted_by_library(value)


@pytest.mark.parametrize("claims", [{"exp": float("nan")}, {"iat": float("nan")}])
def test_nan_is_refused_as_a_time_unlike_in_the_library(claims: dict[str, float]) -> None:
    assert not verify_token(token_with(**claims), KEY, NOW)
    assert is_accepted_by_library(token_with(**claims))


@pytest.mark.parametrize(
    ("key", "base"),
    [
        (KEY, KEY),
        (f" {KEY}\n", KEY),
        (f"{KEY}_residency_in", KEY),
        (f"{KEY}_residency_eu2 ", KEY),
        (f"{KEY}_residency_in_residency_eu", f"{KEY}_residency_in"),
        (f"{KEY}_residency_", f"{KEY}_residency_"),
        (f"{KEY}_residency_IN", f"{KEY}_residency_IN"),
        (f"{KEY}_residency_in_x", f"{KEY}_residency_in_x"),
        ("schlüssel", "schlüssel"),
    ],
)
def test_secret_is_the_key_without_its_residency(key: str, base: str) -> None:
    value = token(key=base)
    assert verify_token(value, key, NOW)
    assert is_accepted_by_library(value, key)
    assert not verify_token(value, f"x{key}", NOW)


@pytest.mark.parametrize("key", ["", " ", "_residency_in"])
def test_without_a_key_no_token_is_valid(key: str) -> None:
    assert not verify_token(token(key=""), key, NOW)


def test_key_that_is_not_unicode_refuses_every_token() -> None:
    assert not verify_token(VALID_TOKEN, "\ud83d", NOW)


@given(st.floats(-400, 400) | st.sampled_from([59.9, 60, 60.1, 61, -60, -60.1, -61]))
def test_library_agrees_at_any_time(delay: float) -> None:
    value = token_with(exp=NOW, iat=NOW)
    assert verify_token(value, KEY, NOW + delay) is is_accepted_by_library(value, now=NOW + delay)


TIMES = st.integers(NOW - 70, NOW + 70) | st.floats(NOW - 70, NOW + 70)
OTHER = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3)
PAYLOADS = st.fixed_dictionaries(
    {},
    optional={
        "iss": st.just(CLAIMS["iss"]) | OTHER,
        "sub": st.just(CLAIMS["sub"]) | OTHER,
        "exp": TIMES | OTHER,
        "iat": TIMES | OTHER,
    },
)


@given(
    PAYLOADS,
    st.sampled_from([base64, padded_base64, standard_base64, broken_base64]),
    st.sampled_from(["", "Bearer ", " "]),
)
@example({**CLAIMS, "exp": NOW - 61}, base64, "")
def test_library_agrees_for_any_claims(
    claims: dict[str, Any], encode: Callable[[bytes], str], before: str
) -> None:
    value = before + token(claims, encode=encode)
    assert verify_token(value, KEY, NOW) is is_accepted_by_library(value)


@given(st.sampled_from(sorted(VALID_TOKENS.values(), key=len)[:-1]), st.data())
def test_library_agrees_for_changed_tokens(value: str, data: st.DataObject) -> None:
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(value)))
        new = data.draw(st.sampled_from(["", "=", ".", " ", "A", "-", "_", "\n"]) | st.text(max_size=2))
        value = value[:at] + new + value[at + data.draw(st.integers(0, 2)) :]
    assert verify_token(value, KEY, NOW) is is_accepted_by_library(value)


@given(st.text(st.characters(exclude_categories=[])), st.text(st.characters(exclude_categories=[])))
def test_any_input_is_refused_without_an_exception(value: str, key: str) -> None:
    assert not verify_token(value, key, NOW)
    assert not is_accepted_by_library(value, key)
