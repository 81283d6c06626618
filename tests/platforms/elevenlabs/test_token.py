"""Who opens a Speech Engine socket is ElevenLabs, and nobody else: judged by its own library."""

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
WRITTEN = (
    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9."
    "eyJpc3MiOiJodHRwczovL2FwaS5lbGV2ZW5sYWJzLmlvL2NvbnZhaS9zcGVlY2gtZW5naW5lIiwic3ViIjoiY29udmFpX3NwZWVja"
    "F9lbmdpbmVfdXBzdHJlYW0iLCJleHAiOjE3NjM2NDAzMDAsImlhdCI6MTc2MzY0MDAwMH0."
    "O1i9hTKRRnlEGhlJSXlxh-Xpm-BTRsDfw1eXgjJbXyg"
)
"""Signed by openssl, with the SHA-256 of the key as the secret."""


def plain(data: bytes) -> str:
    return urlsafe_b64encode(data).decode().rstrip("=")


def token(
    claims: Any = CLAIMS, *, key: str = KEY, head: str = HEAD, encode: Callable[[bytes], str] = plain
) -> str:
    """A token as ElevenLabs signs it; `claims` may be any JSON, or bytes as they are."""
    data = claims if isinstance(claims, bytes) else json.dumps(claims, separators=(",", ":")).encode()
    return sealed(f"{encode(head.encode())}.{encode(data)}", key, encode)


def sealed(text: str, key: str = KEY, encode: Callable[[bytes], str] = plain) -> str:
    """A text with a dot and the signature of whatever it is."""
    return f"{text}.{encode(hmac.digest(sha256(key.encode()).digest(), text.encode(), 'sha256'))}"


def claiming(**claims: Any) -> str:
    return token({**CLAIMS, **claims})


def without(name: str) -> str:
    return token({key: value for key, value in CLAIMS.items() if key != name})


def padded(data: bytes) -> str:
    return urlsafe_b64encode(data).decode()


def standard(data: bytes) -> str:
    return b64encode(data).decode()


def broken(data: bytes) -> str:
    """Base64 in lines, with characters in between that belong to no alphabet."""
    text = urlsafe_b64encode(data).decode()
    return "\n".join(text[at : at + 8] for at in range(0, len(text), 8)) + " !!"


GOOD = token()
HEADED, SIGNATURE = GOOD.rpartition(".")[::2]
GENUINE = {
    "as it is sent": GOOD,
    "with its scheme": f"Bearer {GOOD}",
    "with its scheme in any case": f"bEARER   {GOOD}",
    "with space around it": f" \t{GOOD}\r\n",
    "with its scheme and space around it": f"  Bearer \u00a0 {GOOD} \n",
    "padded": token(encode=padded),
    "in the other alphabet": token({**CLAIMS, "x": "\u00bf\u00be?>~\u00ff"}, encode=standard),
    "with what belongs to no alphabet": token({**CLAIMS, "x": "abcdefghijk"}, encode=broken),
    "with too much padding": GOOD + "=====",
    "with a header that says nothing": token(head=""),
    "with a header that is no JSON": token(head="none"),
    "with a header of another algorithm": token(head='{"alg":"none"}'),
    "with more claims": claiming(aud=["x"], nbf=NOW + 900),
    "with a claim said twice": token(json.dumps(CLAIMS).encode()[:-1] + b',"exp":%d}' % (NOW + 1)),
    "in UTF-16": token(json.dumps(CLAIMS).encode("utf-16")),
    "with a byte order mark": token(json.dumps(CLAIMS).encode("utf-8-sig")),
    "with half an emoji": claiming(x="\ud83d"),
    "expired by 59 seconds": claiming(exp=NOW - 59),
    "expired by 60 seconds": claiming(exp=NOW - 60),
    "59 seconds ahead": claiming(iat=NOW + 59),
    "60 seconds ahead": claiming(iat=NOW + 60),
    "with fractions of seconds": claiming(exp=NOW - 59.5, iat=NOW + 59.5),
    "issued at True": claiming(iat=True),
    "issued never": claiming(iat=float("-inf")),
    "for ever": claiming(exp=float("inf")),
    "for a long time": claiming(exp=10**4000),
}
FALSE = {
    "nothing": "",
    "a scheme": "Bearer",
    "a scheme and a space": "Bearer ",
    "two schemes": f"Bearer Bearer {GOOD}",
    "another scheme": f"Basic {GOOD}",
    "a scheme without a space": f"Bearer\t{GOOD}",
    "one part": "x",
    "two parts": HEADED,
    "four parts": f"{GOOD}.x",
    "four parts, sealed": sealed(f"{HEADED}.x"),
    "three empty parts": "..",
    "no signature": f"{HEADED}.",
    "half a signature": f"{HEADED}.{SIGNATURE[:20]}",
    "a signature that is no Base64": f"{HEADED}.{SIGNATURE[:41]}",
    "a signature beyond ASCII": f"{HEADED}.{SIGNATURE}é",
    "a signature in hexadecimal": f"{HEADED}.{hmac.digest(b'x', b'x', 'sha256').hex()}",
    "another key": token(key="sk_other"),
    "the key itself as the secret": f"{HEADED}.{plain(hmac.digest(KEY.encode(), HEADED.encode(), 'sha256'))}",
    "another header under the same signature": f"x{GOOD}",
    "claims exchanged": f"{HEADED.split('.')[0]}.{claiming(exp=NOW + 301).split('.')[1]}.{SIGNATURE}",
    "the other alphabet after it was sealed": f"{HEADED}=.{SIGNATURE}",
    "half an emoji in the header": f"\ud83d{GOOD}",
    "expired by 61 seconds": claiming(exp=NOW - 61),
    "expired by a fraction more than 60 seconds": claiming(exp=NOW - 60.5),
    "61 seconds ahead": claiming(iat=NOW + 61),
    "a fraction more than 60 seconds ahead": claiming(iat=NOW + 60.5),
    "expired at True": claiming(exp=True),
    "issued for ever ahead": claiming(iat=float("inf")),
    "expired for ever": claiming(exp=float("-inf")),
    "of a time that is too long": token(json.dumps(CLAIMS).encode()[:-1] + b',"exp":' + b"9" * 5000 + b"}"),
    "another issuer": claiming(iss="https://api.elevenlabs.io/convai/speech-engine/"),
    "an issuer in a list": claiming(iss=[CLAIMS["iss"]]),
    "another subject": claiming(sub="convai_speech_engine_downstream"),
    "a subject that is none": claiming(sub=None),
    "a time in quotes": claiming(exp=str(NOW + 300)),
    "a time that is null": claiming(iat=None),
    "a time in a list": claiming(exp=[NOW + 300]),
    **{f"no {name}": without(name) for name in CLAIMS},
    "no claims": token(b""),
    "claims that are no JSON": token(b"{"),
    "claims in no encoding": token(b'{"iss":"\xff"}'),
    "claims that are no Base64": sealed(f"{HEADED.split('.')[0]}.x"),
    "claims beyond ASCII": sealed(f"{HEADED.split('.')[0]}.é"),
    "claims too deep": token(b"[" * 100_000),
    **{f"claims that are {claims!r}": token(claims) for claims in ([], [CLAIMS], "x", 7, None, True)},
}


def official(value: str, key: str = KEY, now: float = NOW) -> bool:
    """What ElevenLabs' own library says. Whatever it raises, it does not let the token in."""
    resource: Any = pytest.importorskip(
        "elevenlabs.speech_engine.resource", reason="elevenlabs is not installed"
    )
    with patch.object(resource.time, "time", lambda: now):
        try:
            resource.verify_speech_engine_jwt(value, key)
        except Exception:
            return False
    return True


def test_a_token_fits_its_key_and_its_time() -> None:
    assert verify_token(WRITTEN, KEY, NOW)
    assert not verify_token(WRITTEN, KEY + "x", NOW)
    assert not verify_token(WRITTEN, KEY, NOW + 361)
    assert not verify_token(WRITTEN, KEY, NOW - 61)


@pytest.mark.parametrize("value", GENUINE.values(), ids=GENUINE)
def test_a_genuine_token_is_let_in(value: str) -> None:
    assert verify_token(value, KEY, NOW)
    assert official(value)


@pytest.mark.parametrize("value", FALSE.values(), ids=FALSE)
def test_any_other_is_not(value: str) -> None:
    assert not verify_token(value, KEY, NOW)
    assert not official(value)


@pytest.mark.parametrize("claims", [{"exp": float("nan")}, {"iat": float("nan")}])
def test_a_time_that_is_not_a_number_is_good_never_unlike_over_there(claims: dict[str, float]) -> None:
    assert not verify_token(claiming(**claims), KEY, NOW)
    assert official(claiming(**claims))


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
def test_the_secret_is_the_key_without_its_residency(key: str, base: str) -> None:
    value = token(key=base)
    assert verify_token(value, key, NOW)
    assert official(value, key)
    assert not verify_token(value, f"x{key}", NOW)


@pytest.mark.parametrize("key", ["", " ", "_residency_in"])
def test_without_a_key_nothing_is_genuine(key: str) -> None:
    assert not verify_token(token(key=""), key, NOW)


def test_a_key_that_cannot_be_written_signs_nothing() -> None:
    assert not verify_token(GOOD, "\ud83d", NOW)


@given(st.floats(-400, 400) | st.sampled_from([59.9, 60, 60.1, 61, -60, -60.1, -61]))
def test_the_library_agrees_at_any_time(late: float) -> None:
    value = claiming(exp=NOW, iat=NOW)
    assert verify_token(value, KEY, NOW + late) is official(value, now=NOW + late)


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


@given(PAYLOADS, st.sampled_from([plain, padded, standard, broken]), st.sampled_from(["", "Bearer ", " "]))
@example({**CLAIMS, "exp": NOW - 61}, plain, "")
def test_the_library_agrees_whatever_is_claimed(
    claims: dict[str, Any], encode: Callable[[bytes], str], before: str
) -> None:
    value = before + token(claims, encode=encode)
    assert verify_token(value, KEY, NOW) is official(value)


@given(st.sampled_from(sorted(GENUINE.values(), key=len)[:-1]), st.data())
def test_the_library_agrees_whatever_is_tampered_with(value: str, data: st.DataObject) -> None:
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(value)))
        new = data.draw(st.sampled_from(["", "=", ".", " ", "A", "-", "_", "\n"]) | st.text(max_size=2))
        value = value[:at] + new + value[at + data.draw(st.integers(0, 2)) :]
    assert verify_token(value, KEY, NOW) is official(value)


@given(st.text(st.characters(exclude_categories=[])), st.text(st.characters(exclude_categories=[])))
def test_nothing_that_comes_can_raise_or_pass(value: str, key: str) -> None:
    assert not verify_token(value, key, NOW)
    assert not official(value, key)
