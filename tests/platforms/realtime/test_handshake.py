"""Who may call with a key of the house, which agent answers, and which call it is."""

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


def line(name: str, language: str) -> ServedAgent:
    return ServedAgent(
        name,
        fake_agent("Hi."),
        DIALECTS["vapi"],
        language=language,
        speech_filters=SpeechFilters(SpeechOptions(), {}),
    )


LINES = {"desk": line("desk", "de"), "shop": line("shop", "fr")}


def counter(*keys: ApiKey, strict: bool = True, **how: Any) -> RealtimeHandshake:
    return RealtimeHandshake(Authenticator(ApiKeys(keys)), AgentRegistry(LINES, strict=strict).resolve, **how)


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
def test_there_are_two_addresses_and_no_others(path: str) -> None:
    for good in (PATH, "/realtime"):
        assert counter(ONE).authenticate(scope(good))
    with pytest.raises(NotFound):
        counter(ONE).authenticate(scope(path))


@pytest.mark.parametrize(
    ("keys", "asked", "failure"),
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
def test_who_is_not_let_in(
    keys: tuple[ApiKey, ...], asked: dict[str, Any], failure: type[RequestError]
) -> None:
    with pytest.raises(failure):
        counter(*keys).authenticate(scope(**asked))


@pytest.mark.parametrize(
    "asked",
    [{"secret": "s1"}, {"secret": "", "subprotocols": ("realtime", "openai-insecure-api-key.s1")}],
    ids=["header", "subprotocol"],
)
def test_a_key_opens_wherever_it_is_shown(asked: dict[str, Any]) -> None:
    assert counter(ONE).authenticate(scope(**asked)).startswith("call_")
    assert counter(ONE).choose_profile(scope(**asked)).key is ONE


def test_without_keys_programs_on_this_machine_may_call() -> None:
    assert counter().choose_profile(scope(secret="")).agent is LINES["desk"]


def test_the_model_names_the_agent_and_the_key_decides_which_there_are() -> None:
    assert counter(ONE).choose_profile(scope(query="model=shop")).agent.name == "shop"
    assert counter(SHOP).choose_profile(scope(secret="s2")).agent.name == "shop"
    with pytest.raises(ModelNotFound):
        counter(SHOP).choose_profile(scope(secret="s2", query="model=desk"))
    with pytest.raises(ModelNotFound):
        counter(ONE).choose_profile(scope(query="model=gpt-realtime"))
    assert counter(ONE, strict=False).choose_profile(scope(query="model=gpt-realtime")).agent.name == "desk"


def test_the_key_s_dialect_counts_before_the_agent_s() -> None:
    house = counter(ONE, SHOP, READER)
    assert house.choose_profile(scope()).dialect is DIALECTS["vapi"]
    assert house.choose_profile(scope(secret="s2")).dialect is DIALECTS["elevenlabs"]
    reader = house.choose_profile(scope(secret="s3"))
    assert (reader.dialect, reader.agent.speech_filters) == (DIALECTS["chat"], None)
    assert house.choose_profile(scope()).agent.speech_filters is not None


def test_the_language_is_the_agent_s_unless_the_table_has_one() -> None:
    assert counter(ONE).choose_profile(scope()).language == "de"
    assert counter(ONE, language="pt-BR").choose_profile(scope()).language == "pt-BR"


def test_a_call_is_named_in_a_header_or_in_the_address_and_else_nobody_s() -> None:
    house = counter(ONE, call_headers=("x-my-call",))
    named = house.authenticate(scope(x_voicegw_call="42"))
    assert house.authenticate(scope(x_voicegw_call="42")) == named
    assert house.authenticate(scope(query="call_id=42")) == named
    assert house.authenticate(scope(x_voicegw_call="42", query="call_id=43")) == named, (
        "the header counts first"
    )
    assert house.authenticate(scope(x_my_call="42")) == house.authenticate(scope(x_my_call="42")) != named
    assert house.authenticate(scope()) != house.authenticate(scope())


def test_the_agent_learns_the_id_as_it_was_written() -> None:
    house = counter(ONE, call_headers=("x-my-call",))
    asked: list[tuple[dict[str, Any], dict[str, str]]] = [
        ({}, {}),
        ({"x_voicegw_call": " 42 "}, {"call_id": "42"}),
        ({"x_my_call": "7", "query": "call_id=8"}, {"call_id": "7"}),
        ({"query": "call_id=8"}, {"call_id": "8"}),
    ]
    for how, facts in asked:
        assert house.choose_profile(scope(**how)).metadata == facts
