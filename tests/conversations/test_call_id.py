"""A request belongs to a call only by an explicit id."""

from __future__ import annotations

from typing import Any
from uuid import uuid5

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicegw.conversations.call_id import (
    CALL_HEADER_ALIASES,
    CALL_ID_KEYS,
    MAX_ID_LENGTH,
    NAMESPACE,
    CallIdentity,
    derive_id,
    resolve_call_id,
)
from voicegw.errors import BadRequest

ID = "conv_123"


def identify(
    extra: dict[str, Any] | None = None,
    names: tuple[str, ...] = (),
    keys: tuple[str, ...] = CALL_ID_KEYS,
    **headers: str,
) -> CallIdentity:
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return resolve_call_id(pairs, extra or {}, header_names=names, keys=keys)


@pytest.mark.parametrize(
    "identity",
    [
        identify(x_voicegw_call=ID),
        *(identify(**{alias: ID}) for alias in CALL_HEADER_ALIASES),
        identify(x_our_call=ID, names=("x-our-call",)),
        identify({"call": {"id": ID}}),
        identify({"elevenlabs_extra_body": {"conversation_id": ID}}),
        identify({"extra_metadata": {"call_id": ID}}),
        identify({"elevenlabs_extra_body": {"session_id": ID}}),
        identify({"extra_metadata": {"session_id": ID}}),
        identify({"metadata": {"session_id": ID}}, keys=("metadata.session_id",)),
        identify({"metadata": {"session_id": ID}}, keys=("session_id",)),
        identify({"our_body": {"ref": ID}}, keys=("call_id", "our_body.ref")),
        identify({"metadata": {"chat_id": 7}}),
    ],
)
def test_an_explicit_id_names_a_call(identity: CallIdentity) -> None:
    assert identity.is_explicit
    assert identity.name.startswith("call_")


@pytest.mark.parametrize(
    "extra",
    [
        {},
        {"user": "u1", "user_id": "u1", "customer": {"number": "+1"}},
        {"conversation_id": ID},
        {"call": {"orgId": "o"}},
        {"call": ID},
        {"metadata": {"call_id": None, "chat_id": "", "session_id": True, "conversation_id": [ID]}},
        {"metadata": [ID]},
        {"metadata": {"session_id": ID, "trace_id": ID, "thread_id": ID}},
    ],
)
def test_a_request_without_an_id_is_anonymous_and_unique(extra: dict[str, Any]) -> None:
    one, two = identify(extra), identify(extra)
    assert not one.is_explicit
    assert one.name != two.name


def test_a_blank_header_names_no_call() -> None:
    assert not identify(x_voicegw_call="  ").is_explicit


def test_a_key_with_an_object_counts_in_this_object_only() -> None:
    keys = ("elevenlabs_extra_body.ref", "call_id")
    assert identify({"elevenlabs_extra_body": {"ref": ID, "call_id": "other"}}, keys=keys) == identify(
        {"elevenlabs_extra_body": {"ref": ID}}, keys=keys
    )
    assert not identify({"metadata": {"ref": ID}}, keys=keys).is_explicit


def test_the_first_source_wins() -> None:
    body = {"call": {"id": "vapi"}, "metadata": {"call_id": "meta"}}
    own_header, alias = (
        identify(body, x_voicegw_call="a", x_conversation_id="b"),
        identify(body, x_conversation_id="b"),
    )
    assert own_header == identify(x_voicegw_call="a")
    assert alias == identify(x_conversation_id="b")
    assert identify(body) == identify({"call": {"id": "vapi"}})


def test_the_returned_name_reaches_the_same_call() -> None:
    for first in (
        identify(),
        identify(x_voicegw_call=ID),
        identify({"call": {"id": ID}}),
        identify(x_hermes_session_id=ID),
    ):
        again = identify(x_voicegw_call=first.name)
        assert again.is_explicit
        assert again.call_id("t", "desk") == first.call_id("t", "desk")


def test_the_client_s_own_header_is_echoed() -> None:
    assert identify(x_hermes_session_id=ID).echoed_headers == {"x-hermes-session-id": ID}
    assert identify(x_voicegw_call=ID).echoed_headers == {}
    assert identify({"call": {"id": ID}}).echoed_headers == {}


def test_tenants_agents_and_sources_have_separate_calls() -> None:
    identity = identify(x_voicegw_call=ID)
    calls = {identity.call_id(tenant, agent) for tenant in ("a", "b", "") for agent in ("desk", "shop")}
    assert len(calls) == 6
    assert identify(x_conversation_id=ID).call_id("a", "desk") != identify({"call": {"id": ID}}).call_id(
        "a", "desk"
    )


@pytest.mark.parametrize(
    "invalid_id", ["x" * (MAX_ID_LENGTH + 1), "x" * 10_000, "a\x00b", "a\nb", "\x7f", "\u200b\u0085"]
)
def test_an_invalid_id_is_refused_and_its_source_named(invalid_id: str) -> None:
    with pytest.raises(BadRequest) as refused:
        identify({"metadata": {"call_id": invalid_id}})
    assert refused.value.param == "metadata.call_id"


@given(st.text(), st.text(), st.text())
def test_no_two_tenants_share_a_call(one: str, two: str, id: str) -> None:
    identity = CallIdentity(f"call_{id}", True, {})
    assert (identity.call_id(one, "a") == identity.call_id(two, "a")) is (one == two)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_derived_id_is_the_uuid_of_the_name(name: str) -> None:
    assert derive_id(name) == uuid5(NAMESPACE, name).hex
