"""Handshakes of realtime clients: the API key, the agent and the id of the call."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.types import Scope

from tests.support.fake_agent import fake_agent
from voicegw.conversations.agent_registry import AgentRegistry
from voicegw.errors import BadRequest, Forbidden, ModelNotFound, NotFound, RequestError, Unauthorized
from voicegw.platforms.realtime.handshake import RealtimeHandshake
from voicegw.security.authenticator import Authenticator
from voicegw.security.keys import ApiKey, ApiKeys, hash_secret
from voicegw.speech.options import SpeechOptions
from voicegw.turns.dialects import DIALECTS
from voicegw.turns.served_agent import ServedAgent
from voicegw.turns.speech_buffer import SpeechFilters

ONE = ApiKey("one", hash_secret("s1"))
SHOP = ApiKey("shop", hash_secret("s2"), frozenset({"shop"}), "elevenlabs")
READER = ApiKey("reader", hash_secret("s3"), dialect="chat")
PATH = "/v1/realtime"


def served_agent(name: str, language: str) -> ServedAgent:
    return ServedAgent(
        name,
        fake_agent("Hi."),
        DIALECTS["vapi"],
        language=language,
        speech_filters=SpeechFilters(SpeechOptions(), {}),
    )


AGENTS = {"desk": served_agent("desk", "de"), "shop": served_agent("shop", "fr")}


def make_handshake(*keys: ApiKey, strict: bool = True, **how: Any) -> RealtimeHandshake:
    return RealtimeHandshake(
        Authenticator(ApiKeys(keys)), AgentRegistry(AGENTS, strict=strict).resolve, **how
    )


def scope(
    path: str = PATH, query: str = "", secret: str = "s1", subprotocols: tuple[str, ...] = (), **headers: str
) -> Scope:
    fields = {"host": "127.0.0.1:8080", **headers}
    if secret:
        fields["authorization"] = f"Bearer {secret}"
    return {
        "type": "websocket",
        "path": path,
        "query_string": query.encode("latin-1"),
        "subprotocols": list(subprotocols),
        "headers": [
            (name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in fields.items()
        ],
    }


@pytest.mark.parametrize(
    "path", ["/v1", "/v1/", "/v1/realtime/", "/v1/realtime/x", "/v1/chat/completions", "/realtime/"]
)
def test_other_paths_are_not_found(path: str) -> None:
    for valid in (PATH, "/realtime"):
        assert make_handshake(ONE).authenticate(scope(valid))
    with pytest.raises(NotFound):
        make_handshake(ONE).authenticate(scope(path))


@pytest.mark.parametrize(
    ("keys", "options", "failure"),
    [
        ((ONE,), {"secret": ""}, Unauthorized),
        ((ONE,), {"secret": "wrong"}, Unauthorized),
        ((ONE,), {"secret": "s1", "x_session_api_key": "s2"}, Unauthorized),
        ((ONE,), {"secret": "", "subprotocols": ("realtime", "openai-insecure-api-key.wrong")}, Unauthorized),
        ((ONE,), {"secret": "s1", "subprotocols": ("openai-insecure-api-key.é☎",)}, Unauthorized),
        ((), {"secret": "", "host": "voice.example.com"}, Forbidden),
        ((), {"secret": "", "origin": "https://evil.example"}, Forbidden),
        ((), {"secret": "", "x_forwarded_for": "192.0.2.7"}, Forbidden),
        ((ONE,), {"x_voicegw_call": "x" * 513}, BadRequest),
        ((ONE,), {"query": "call_id=%00"}, BadRequest),
        ((ONE,), {"query": "&".join(["a=1"] * 101)}, BadRequest),
    ],
)
def test_invalid_handshake_is_refused(
    keys: tuple[ApiKey, ...], options: dict[str, Any], failure: type[RequestError]
) -> None:
    with pytest.raises(failure):
        make_handshake(*keys).authenticate(scope(**options))


@pytest.mark.parametrize(
    "options",
    [{"secret": "s1"}, {"secret": "", "subprotocols": ("realtime", "openai-insecure-api-key.s1")}],
    ids=["header", "subprotocol"],
)
def test_api_key_is_accepted_in_a_header_or_a_subprotocol(options: dict[str, Any]) -> None:
    assert make_handshake(ONE).authenticate(scope(**options)).startswith("call_")
    assert make_handshake(ONE).choose_profile(scope(**options)).key is ONE


def test_without_keys_this_machine_may_connect() -> None:
    assert make_handshake().choose_profile(scope(secret="")).agent is AGENTS["desk"]


def test_model_names_one_of_the_agents_of_the_key() -> None:
    assert make_handshake(ONE).choose_profile(scope(query="model=shop")).agent.name == "shop"
    assert make_handshake(SHOP).choose_profile(scope(secret="s2")).agent.name == "shop"
    with pytest.raises(ModelNotFound):
        make_handshake(SHOP).choose_profile(scope(secret="s2", query="model=desk"))
    with pytest.raises(ModelNotFound):
        make_handshake(ONE).choose_profile(scope(query="model=gpt-realtime"))
    assert (
        make_handshake(ONE, strict=False).choose_profile(scope(query="model=gpt-realtime")).agent.name
        == "desk"
    )


def test_dialect_of_the_key_counts_before_that_of_the_agent() -> None:
    handshake = make_handshake(ONE, SHOP, READER)
    assert handshake.choose_profile(scope()).dialect is DIALECTS["vapi"]
    assert handshake.choose_profile(scope(secret="s2")).dialect is DIALECTS["elevenlabs"]
    reader = handshake.choose_profile(scope(secret="s3"))
    assert (reader.dialect, reader.agent.speech_filters) == (DIALECTS["chat"], None)
    assert handshake.choose_profile(scope()).agent.speech_filters is not None


def test_language_is_that_of_the_section_or_of_the_agent() -> None:
    assert make_handshake(ONE).choose_profile(scope()).language == "de"
    assert make_handshake(ONE, language="pt-BR").choose_profile(scope()).language == "pt-BR"


def test_call_id_is_taken_from_a_header_or_the_query_or_is_new() -> None:
    handshake = make_handshake(ONE, call_headers=("x-my-call",))
    named = handshake.authenticate(scope(x_voicegw_call="42"))
    assert handshake.authenticate(scope(x_voicegw_call="42")) == named
    assert handshake.authenticate(scope(query="call_id=42")) == named
    assert handshake.authenticate(scope(x_voicegw_call="42", query="call_id=43")) == named, (
        "the header counts first"
    )
    assert (
        handshake.authenticate(scope(x_my_call="42"))
        == handshake.authenticate(scope(x_my_call="42"))
        != named
    )
    assert handshake.authenticate(scope()) != handshake.authenticate(scope())


def test_metadata_has_the_call_id_as_the_client_wrote_it() -> None:
    handshake = make_handshake(ONE, call_headers=("x-my-call",))
    cases: list[tuple[dict[str, Any], dict[str, str]]] = [
        ({}, {}),
        ({"x_voicegw_call": " 42 "}, {"call_id": "42"}),
        ({"x_my_call": "7", "query": "call_id=8"}, {"call_id": "7"}),
        ({"query": "call_id=8"}, {"call_id": "8"}),
    ]
    for given, metadata in cases:
        assert handshake.choose_profile(scope(**given)).metadata == metadata
