"""ElevenLabs' handshakes and their tokens."""

from __future__ import annotations

from typing import Any

import pytest

from tests.platforms.elevenlabs.test_token import KEY, NOW, VALID_TOKEN
from tests.platforms.handshakes import REMOTE_CLIENTS, REMOTE_HEADERS, handshake_scope, refusal
from voicegw.errors import Forbidden, NotFound, Unauthorized
from voicegw.platforms.elevenlabs.handshake import ElevenLabsTokenAuth

PATH, HEADER = "/elevenlabs/speech-engine", "x_elevenlabs_speech_engine_authorization"
SECOND_TOKEN = (b"x-elevenlabs-speech-engine-authorization", VALID_TOKEN.encode())


@pytest.mark.parametrize("token", [VALID_TOKEN, f"Bearer {VALID_TOKEN}"])
def test_token_is_accepted_until_it_expires(token: str) -> None:
    time = [float(NOW)]
    auth = ElevenLabsTokenAuth(KEY, lambda: time[0])
    scope = handshake_scope(PATH, **REMOTE_HEADERS, **{HEADER: token})
    assert refusal(auth, scope) is None
    time[0] += 1e6
    assert refusal(auth, scope) is Unauthorized


@pytest.mark.parametrize(
    "headers", [{}, {HEADER: ""}, {HEADER: VALID_TOKEN[:-2]}, {HEADER: "é"}, {"authorization": VALID_TOKEN}]
)
def test_invalid_token_is_refused_also_from_this_machine(headers: dict[str, str]) -> None:
    auth = ElevenLabsTokenAuth(KEY, lambda: NOW)
    assert refusal(auth, handshake_scope(PATH, **headers)) is Unauthorized


def test_second_token_is_refused() -> None:
    scope = handshake_scope(PATH, **{HEADER: VALID_TOKEN})
    scope["headers"].append(SECOND_TOKEN)
    assert refusal(ElevenLabsTokenAuth(KEY, lambda: NOW), scope) is Unauthorized


@pytest.mark.parametrize("path", ["/elevenlabs", "/elevenlabs/speech-engine/", "/elevenlabs/relay"])
def test_other_path_is_not_found(path: str) -> None:
    auth = ElevenLabsTokenAuth(KEY, lambda: NOW)
    assert refusal(auth, handshake_scope(path, **{HEADER: VALID_TOKEN})) is NotFound


@pytest.mark.parametrize("remote", REMOTE_CLIENTS)
def test_without_a_key_only_this_machine_may_connect(remote: dict[str, Any]) -> None:
    auth = ElevenLabsTokenAuth()
    auth(handshake_scope(PATH))
    with pytest.raises(Forbidden):
        auth(handshake_scope(PATH, **remote))
