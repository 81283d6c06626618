"""A request means one thing to a known turn of its call: the whole table."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicegw.conversations.turn_relation import (
    Client,
    History,
    RunState,
    TurnRelation,
    compare_histories,
    digest_of_options,
    has_same_options,
    relate,
)
from voicegw.events import Message, Tool, Turn

JOIN, REPLAY, PARALLEL = TurnRelation.JOIN, TurnRelation.REPLAY, TurnRelation.PARALLEL
SUPERSEDE, OLD, NEW_RUN = TurnRelation.SUPERSEDE, TurnRelation.OLD, TurnRelation.NEW_RUN
VOICE, SOCKET, CHAT, PROGRAM = Client.VOICE, Client.SOCKET, Client.CHAT, Client.PROGRAM
RUNNING, UNDELIVERED, DELIVERED = RunState.RUNNING, RunState.UNDELIVERED, RunState.DELIVERED
UNUSABLE, EXPIRED = RunState.UNUSABLE, RunState.EXPIRED

PROMPT = Message("system", "Be kind.")
HELLO, HI = Message("user", "Hello?"), Message("assistant", "Hi.")
TABLE, OUTSIDE = Message("user", "A table, please."), Message("user", "Outside.")
KNOWN = Turn("t1", (PROMPT, HELLO, HI, TABLE), model="alpha")
LONGER = (PROMPT, HELLO, HI, TABLE, HI, OUTSIDE)
DIVERGING = (PROMPT, HELLO, HI, OUTSIDE)
EARLIER = (PROMPT, HELLO)

OPTIONS: list[dict[str, Any]] = [
    {"model": "beta"},
    {"tools": (Tool("book"),)},
    {"tool_choice": "none"},
    {"options": {"temperature": 1.0}},
    {"options": {"response_format": {"type": "json_object"}}},
    {"language": "de"},
    {"messages": (Message("system", "Sum up."), *KNOWN.messages[1:])},
    {"messages": (PROMPT, Message("developer", "Sum up."), *KNOWN.messages[1:])},
    {"messages": KNOWN.messages[1:]},
]
"""Changes of the options alone: instructions at the beginning belong to them."""


def ask(messages: tuple[Message, ...] = KNOWN.messages, **fields: Any) -> Turn:
    return Turn("t2", **{"messages": messages, "model": "alpha", **fields})


@pytest.mark.parametrize("client", Client)
@pytest.mark.parametrize(
    ("state", "is_retry", "reused"),
    [
        (RUNNING, False, JOIN),
        (RUNNING, True, JOIN),
        (UNDELIVERED, False, REPLAY),
        (UNDELIVERED, True, REPLAY),
        (DELIVERED, True, REPLAY),
        (DELIVERED, False, None),
        (UNUSABLE, True, None),
        (EXPIRED, True, None),
    ],
)
def test_the_same_request_joins_or_replays_the_run_or_is_a_new_one(
    client: Client, state: RunState, is_retry: bool, reused: TurnRelation | None
) -> None:
    own = PARALLEL if client is PROGRAM else NEW_RUN
    assert relate(ask(), KNOWN, state, client, is_retry=is_retry) is (reused or own)


@pytest.mark.parametrize("fields", OPTIONS)
@pytest.mark.parametrize("client", [VOICE, CHAT, PROGRAM])
@pytest.mark.parametrize("is_retry", [False, True])
def test_the_same_words_with_other_options_run_side_by_side(
    fields: dict[str, Any], client: Client, is_retry: bool
) -> None:
    assert relate(ask(**fields), KNOWN, RUNNING, client, is_retry=is_retry) is PARALLEL


def test_the_same_words_in_another_form_run_side_by_side() -> None:
    assert relate(ask(), KNOWN, RUNNING, VOICE, has_same_form=False) is PARALLEL
    assert relate(ask(), KNOWN, UNDELIVERED, VOICE, has_same_form=False) is NEW_RUN


@pytest.mark.parametrize("messages", [LONGER, DIVERGING, (HELLO, HI, OUTSIDE), (OUTSIDE,)])
@pytest.mark.parametrize("fields", [{}, *OPTIONS[:5]])
@pytest.mark.parametrize(
    ("client", "while_running", "afterwards"),
    [
        (VOICE, SUPERSEDE, NEW_RUN),
        (SOCKET, SUPERSEDE, NEW_RUN),
        (CHAT, PARALLEL, NEW_RUN),
        (PROGRAM, PARALLEL, PARALLEL),
    ],
)
def test_other_words_supersede_the_run_of_a_voice_platform(
    messages: tuple[Message, ...],
    fields: dict[str, Any],
    client: Client,
    while_running: TurnRelation,
    afterwards: TurnRelation,
) -> None:
    turn = ask(messages, **fields)
    assert relate(turn, KNOWN, RUNNING, client) is while_running
    for state in (UNDELIVERED, DELIVERED, UNUSABLE, EXPIRED):
        assert relate(turn, KNOWN, state, client) is afterwards


@pytest.mark.parametrize(
    "turn",
    [
        ask(EARLIER),
        ask((HELLO,)),
        ask((Message("system", "Be brief."), HELLO)),
        ask(EARLIER, tools=(Tool("book"),)),
        ask((PROMPT,)),
    ],
)
def test_an_earlier_turn_is_old_unless_a_chat_client_regenerates_it(turn: Turn) -> None:
    for state in (RUNNING, UNDELIVERED, DELIVERED, UNUSABLE):
        assert relate(turn, KNOWN, state, VOICE) is OLD
    assert relate(turn, KNOWN, EXPIRED, VOICE) is NEW_RUN
    assert relate(turn, KNOWN, DELIVERED, CHAT) is NEW_RUN
    assert relate(turn, KNOWN, RUNNING, CHAT) is PARALLEL
    assert relate(turn, KNOWN, RUNNING, PROGRAM) is PARALLEL
    assert relate(turn, KNOWN, RUNNING, SOCKET) is SUPERSEDE, "turns of a socket are never late"


def test_on_a_socket_other_options_or_another_occasion_supersede() -> None:
    assert relate(ask(model="beta"), KNOWN, RUNNING, SOCKET) is SUPERSEDE
    assert relate(ask(kind="reminder"), KNOWN, RUNNING, SOCKET) is SUPERSEDE


def test_another_prompt_without_words_is_no_earlier_turn() -> None:
    prompt_alone = ask((Message("system", "Sum up the call."),))
    assert compare_histories(prompt_alone, KNOWN) is History.OTHER
    assert compare_histories(prompt_alone, replace(prompt_alone, id="t3")) is History.SAME


@pytest.mark.parametrize("options", [{}, *OPTIONS])
def test_forgotten_options_are_compared_by_their_digest(options: dict[str, Any]) -> None:
    full = ask(tools=(Tool("look", parameters={"type": "object"}),), tool_choice="auto", options={"n": 1})
    slim, digest = replace(full, id="t1", tools=(), tool_choice=None, options={}), digest_of_options(full)
    assert has_same_options(replace(full, **options), slim, digest) is (not options)
    reused = relate(replace(full, **options), slim, UNDELIVERED, CHAT, known_options=digest)
    assert (reused is REPLAY) is (not options)


MESSAGES = st.lists(st.sampled_from([PROMPT, HELLO, HI, TABLE]), max_size=5).map(tuple)


@given(MESSAGES, MESSAGES)
def test_two_turns_are_the_same_exactly_if_their_messages_are(
    one: tuple[Message, ...], other: tuple[Message, ...]
) -> None:
    turn, known = ask(one), ask(other)
    is_same = compare_histories(turn, known) is History.SAME and has_same_options(turn, known)
    assert is_same is (one == other)
    assert relate(turn, known, RUNNING, VOICE) is not OLD or relate(known, turn, RUNNING, VOICE) is not OLD
