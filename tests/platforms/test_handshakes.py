"""What a handshake must show, platform by platform, judged by the official library where there is one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from starlette.types import Scope
from twilio.request_validator import RequestValidator, get_signature_algorithm

from tests.platforms.elevenlabs.test_token import GOOD, KEY, NOW
from voicegw.calls.path_secret import PathSecretAuth
from voicegw.errors import Forbidden, NotFound, RequestError, Unauthorized
from voicegw.platforms.elevenlabs.handshake import ElevenLabsTokenAuth
from voicegw.platforms.twilio.handshake import TwilioSignatureAuth

PUBLIC, TOKEN, SHARED = "https://voice.example.com", "t0ken", "sh4red"
URL = "wss://voice.example.com/twilio/relay"
SHA256 = "key=K1,algorithm=HMAC_SHA256"
OUTSIDE = {"host": "voice.example.com", "x-forwarded-for": "192.0.2.7"}
SECRET = "0123456789abcdef"


def scope(path: str, query: str = "", client: str = "127.0.0.1", **headers: str) -> Scope:
    fields = {"host": "127.0.0.1:8080", **headers}
    return {
        "type": "websocket",
        "scheme": "ws",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "client": (client, 5555),
        "headers": [
            (name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in fields.items()
        ],
    }


def signed(
    url: str = URL, fields: dict[str, str] | None = None, token: str = TOKEN, settings: str | None = None
) -> dict[str, str]:
    """The headers that Twilio would send, as its own library signs."""
    made = RequestValidator(token).compute_signature(url, fields or {}, get_signature_algorithm(settings))
    more = {} if settings is None else {"x-twilio-webhooks-signature-settings": settings}
    return {**OUTSIDE, "x-twilio-signature": str(made), **more}


def refusal(gate: Callable[[Scope], str | None], handshake: Scope) -> type[RequestError] | None:
    try:
        assert gate(handshake) is None
    except RequestError as refused:
        return type(refused)
    return None


TWILIO = TwilioSignatureAuth(PUBLIC, TOKEN, SHARED)


@pytest.mark.parametrize(
    ("headers", "query"),
    [
        (signed(), ""),
        (signed("wss://voice.example.com:443/twilio/relay"), ""),
        (signed(URL + "?a=1&b=%20"), "a=1&b=%20"),
        (signed(URL, {"a": "1", "b": " "}), "a=1&b=%20"),
        (signed(token=SHARED, settings=SHA256), ""),
    ],
    ids=["plain", "port", "query", "query as fields", "sha-256"],
)
def test_twilio_s_own_signature_opens(headers: dict[str, str], query: str) -> None:
    assert refusal(TWILIO, scope("/twilio/relay", query, "192.0.2.7", **headers)) is None


@pytest.mark.parametrize(
    ("headers", "query"),
    [
        ({}, ""),
        (signed(token="other"), ""),
        (signed("wss://evil.example/twilio/relay"), ""),
        (signed("https://voice.example.com/twilio/relay"), ""),
        (signed(URL + "?a=1"), "a=2"),
        (signed(token=TOKEN, settings=SHA256), ""),
        (signed(token=SHARED), ""),
        ({**signed(), "x-twilio-webhooks-signature-settings": "algorithm=NONE"}, ""),
        ({**signed(), "x-twilio-signature": ""}, ""),
        ({**signed(), "x-twilio-signature": "é"}, ""),
    ],
)
def test_anything_else_is_refused_also_from_this_machine(headers: dict[str, str], query: str) -> None:
    assert refusal(TWILIO, scope("/twilio/relay", query, **headers)) is Forbidden


def test_without_the_one_secret_the_other_kind_of_signature_opens_nothing() -> None:
    only = TwilioSignatureAuth(PUBLIC, TOKEN)
    assert refusal(only, scope("/twilio/relay", **signed())) is None
    assert refusal(only, scope("/twilio/relay", **signed(token="", settings=SHA256))) is Forbidden
    only = TwilioSignatureAuth(PUBLIC, "", SHARED)
    assert refusal(only, scope("/twilio/relay", **signed(token=SHARED, settings=SHA256))) is None
    assert refusal(only, scope("/twilio/relay", **signed(token=""))) is Forbidden


def test_without_a_public_address_that_of_the_handshake_counts() -> None:
    gate = TwilioSignatureAuth("", TOKEN)
    headers = signed("ws://voice.example.com/twilio/relay")
    assert refusal(gate, scope("/twilio/relay", **headers)) is None
    assert refusal(gate, {**scope("/twilio/relay", **headers), "headers": []}) is Forbidden


@pytest.mark.parametrize(
    "path", ["/twilio", "/twilio/", "/twilio/relay/", "/twilio/relay/x", "/twilio/voice"]
)
def test_twilio_s_calls_have_one_address(path: str) -> None:
    assert refusal(TWILIO, scope(path, **signed(f"wss://voice.example.com{path}"))) is NotFound


LOCAL: list[tuple[Callable[[Scope], str | None], str]] = [
    (TwilioSignatureAuth(), "/twilio/relay"),
    (PathSecretAuth(False), "/telnyx/relay"),
    (PathSecretAuth(True), "/retell/relay"),
    (ElevenLabsTokenAuth(), "/elevenlabs/speech-engine"),
]


@pytest.mark.parametrize(("gate", "path"), LOCAL)
@pytest.mark.parametrize(
    "how",
    [
        {"client": "192.0.2.7"},
        {"host": "voice.example.com"},
        {"x_forwarded_for": "192.0.2.7"},
        {"origin": "https://evil.example"},
    ],
)
def test_without_a_secret_only_this_machine_may_call(
    gate: Callable[[Scope], str | None], path: str, how: dict[str, Any]
) -> None:
    gate(scope(path))
    with pytest.raises(Forbidden):
        gate(scope(path, **how))


@pytest.mark.parametrize("id", ["call_1", "0" * 128, "a-B_9"])
@pytest.mark.parametrize("tail", ["", "/"])
def test_retell_s_path_names_the_call(id: str, tail: str) -> None:
    assert PathSecretAuth(True, SECRET)(scope(f"/retell/{SECRET}/{id}{tail}", **OUTSIDE)) == id
    assert PathSecretAuth(True)(scope(f"/retell/{id}{tail}")) == id


def test_telnyx_s_path_does_not() -> None:
    assert PathSecretAuth(False, SECRET)(scope(f"/telnyx/{SECRET}/relay", **OUTSIDE)) is None
    assert PathSecretAuth(False)(scope("/telnyx/relay")) is None
    assert refusal(PathSecretAuth(False, SECRET), scope(f"/telnyx/{SECRET}/call_1")) is NotFound


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize(
    "path", ["", "/", "//relay", "/relay", "/wrong/relay", "/é\udce9/relay", f"/{SECRET}0/relay"]
)
def test_a_path_without_the_secret_is_refused_also_from_this_machine(named: bool, path: str) -> None:
    handshake = {**scope("/x"), "path": f"/platform{path}"}
    with pytest.raises(Forbidden):
        PathSecretAuth(named, SECRET)(handshake)


@pytest.mark.parametrize("path", ["", "/", "//", "/a/b", "/a.b", "/a b", "/é", "/" + "0" * 129])
def test_a_path_that_names_no_call_is_nowhere(path: str) -> None:
    for gate, start in (
        (PathSecretAuth(True, SECRET), f"/retell/{SECRET}"),
        (PathSecretAuth(False, SECRET), f"/telnyx/{SECRET}"),
        (PathSecretAuth(True), "/retell"),
        (PathSecretAuth(False), "/telnyx"),
    ):
        with pytest.raises(NotFound):
            gate({**scope("/x"), "path": start + path})


def test_secrets_show_in_no_representation() -> None:
    assert SECRET not in repr([PathSecretAuth(True, SECRET), TwilioSignatureAuth("", SECRET, SECRET)])


ENGINE, SHOWN = "/elevenlabs/speech-engine", "x_elevenlabs_speech_engine_authorization"
TWICE = (b"x-elevenlabs-speech-engine-authorization", GOOD.encode())


@pytest.mark.parametrize("shown", [GOOD, f"Bearer {GOOD}"])
def test_elevenlabs_token_opens_until_its_time_is_over(shown: str) -> None:
    at = [float(NOW)]
    gate = ElevenLabsTokenAuth(KEY, lambda: at[0])
    handshake = scope(ENGINE, **OUTSIDE, **{SHOWN: shown})
    assert refusal(gate, handshake) is None
    at[0] += 1e6
    assert refusal(gate, handshake) is Unauthorized


@pytest.mark.parametrize(
    "headers", [{}, {SHOWN: ""}, {SHOWN: GOOD[:-2]}, {SHOWN: "é"}, {"authorization": GOOD}]
)
def test_without_a_good_token_nobody_calls_not_even_from_this_machine(headers: dict[str, str]) -> None:
    assert refusal(ElevenLabsTokenAuth(KEY, lambda: NOW), scope(ENGINE, **headers)) is Unauthorized


def test_of_two_tokens_none_is_chosen() -> None:
    handshake = scope(ENGINE, **{SHOWN: GOOD})
    handshake["headers"].append(TWICE)
    assert refusal(ElevenLabsTokenAuth(KEY, lambda: NOW), handshake) is Unauthorized


@pytest.mark.parametrize("path", ["/elevenlabs", "/elevenlabs/speech-engine/", "/elevenlabs/relay"])
def test_the_speech_engine_has_one_address(path: str) -> None:
    assert refusal(ElevenLabsTokenAuth(KEY, lambda: NOW), scope(path, **{SHOWN: GOOD})) is NotFound
