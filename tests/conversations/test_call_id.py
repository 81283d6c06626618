"""Only an explicit id has power."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicegw.conversations.call_id import ALIASES, MAX_ID_LENGTH, CallIdentity, resolve_call_id
from voicegw.errors import BadRequest

ID = "conv_123"


def named(extra: dict[str, Any] | None = None, names: tuple[str, ...] = (), **headers: str) -> CallIdentity:
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return resolve_call_id(pairs, extra or {}, names=names)


@pytest.mark.parametrize(
    "found",
    [
        named(x_voicegw_call=ID),
        *(named(**{alias: ID}) for alias in ALIASES),
        named(x_our_call=ID, names=("x-our-call",)),
        named({"call": {"id": ID}}),
        named({"elevenlabs_extra_body": {"conversation_id": ID}}),
        named({"extra_metadata": {"call_id": ID}}),
        named({"metadata": {"session_id": ID}}),
        named({"metadata": {"chat_id": 7}}),
    ],
)
def test_an_explicit_id_is_a_call(found: CallIdentity) -> None:
    assert found.explicit
    assert found.name.startswith("call_")


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
    ],
)
def test_everything_else_is_anonymous_and_no_two_requests_are_the_same(extra: dict[str, Any]) -> None:
    one, two = named(extra), named(extra)
    assert not one.explicit
    assert one.name != two.name


def test_a_blank_header_names_nothing() -> None:
    assert not named(x_voicegw_call="  ").explicit


def test_the_first_source_wins() -> None:
    body = {"call": {"id": "vapi"}, "metadata": {"call_id": "meta"}}
    ours, alias = named(body, x_voicegw_call="a", x_conversation_id="b"), named(body, x_conversation_id="b")
    assert ours == named(x_voicegw_call="a")
    assert alias == named(x_conversation_id="b")
    assert named(body) == named({"call": {"id": "vapi"}})


def test_the_name_that_is_answered_finds_the_same_call_when_sent_back() -> None:
    for first in (
        named(),
        named(x_voicegw_call=ID),
        named({"call": {"id": ID}}),
        named(x_hermes_session_id=ID),
    ):
        again = named(x_voicegw_call=first.name)
        assert again.explicit
        assert again.call("t", "desk") == first.call("t", "desk")


def test_a_client_s_own_header_is_repeated_so_that_it_finds_its_conversation() -> None:
    assert named(x_hermes_session_id=ID).echo == {"x-hermes-session-id": ID}
    assert named(x_voicegw_call=ID).echo == {}
    assert named({"call": {"id": ID}}).echo == {}


def test_tenants_agents_and_sources_never_meet() -> None:
    found = named(x_voicegw_call=ID)
    calls = {found.call(tenant, agent) for tenant in ("a", "b", "") for agent in ("desk", "shop")}
    assert len(calls) == 6
    assert named(x_conversation_id=ID).call("a", "desk") != named({"call": {"id": ID}}).call("a", "desk")


@pytest.mark.parametrize(
    "odd", ["x" * (MAX_ID_LENGTH + 1), "x" * 10_000, "a\x00b", "a\nb", "\x7f", "\u200b\u0085"]
)
def test_an_id_that_nobody_means_is_refused_and_its_source_named(odd: str) -> None:
    with pytest.raises(BadRequest) as refused:
        named({"metadata": {"call_id": odd}})
    assert refused.value.param == "metadata.call_id"


@given(st.text(), st.text(), st.text())
def test_no_two_tenants_share_a_call_whatever_they_are_called(one: str, two: str, id: str) -> None:
    found = CallIdentity(f"call_{id}", True, {})
    assert (found.call(one, "a") == found.call(two, "a")) is (one == two)
