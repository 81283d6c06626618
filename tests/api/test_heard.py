"""What a platform's history tells of an interrupted reply."""

from __future__ import annotations

import pytest

from tests.support.gateway import ask, gateway
from tests.support.script import script

CALL = {"x-voicegw-call": "c1"}
HELLO = {"role": "user", "content": "Hello?"}
NEXT = {"role": "user", "content": "Sorry?"}


def said(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


@pytest.mark.parametrize(
    ("history", "heard"),
    [
        ([HELLO, said("One moment. We are open from nine to five."), NEXT], None),
        ([HELLO, said("One moment. We are open"), NEXT], "We are open"),
        ([HELLO, said("One moment. We are open..."), NEXT], "We are open"),
        ([HELLO, said("We are open"), NEXT], "We are open"),
        ([HELLO, said("One moment. "), NEXT], ""),
        ([HELLO, NEXT], ""),
        ([HELLO, said("They are closed."), NEXT], None),
        ([{"role": "user", "content": "Good morning?"}, said("We are"), NEXT], None),
    ],
)
async def test_a_shortened_reply_tells_what_was_heard(
    history: list[dict[str, str]], heard: str | None
) -> None:
    agent = script("We are open from nine to five.")
    app = gateway(agent)
    await ask(app, {"messages": [HELLO]}, headers=CALL)
    await ask(app, {"messages": history}, headers=CALL)
    assert agent.turns[1].heard == heard


async def test_the_same_turn_again_tells_nothing() -> None:
    agent = script("We are open.")
    app = gateway(agent, turns={"replay_window": 0.0})
    for _ in range(2):
        await ask(app, {"messages": [HELLO]}, headers=CALL)
    assert [turn.heard for turn in agent.turns] == [None, None]


async def test_without_a_call_nothing_is_known() -> None:
    agent = script("We are open.")
    app = gateway(agent)
    await ask(app, {"messages": [HELLO]})
    await ask(app, {"messages": [HELLO, said("We"), NEXT]})
    assert agent.turns[1].heard is None
