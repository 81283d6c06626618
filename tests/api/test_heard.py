"""The heard part of an interrupted reply, from the history that a platform sends."""

from __future__ import annotations

import pytest

from tests.support.fake_agent import fake_agent
from tests.support.gateway import create_gateway, send_turn

CALL = {"x-voicegw-call": "c1"}
HELLO = {"role": "user", "content": "Hello?"}
NEXT = {"role": "user", "content": "Sorry?"}


def assistant_message(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


@pytest.mark.parametrize(
    ("history", "heard"),
    [
        ([HELLO, assistant_message("One moment. We are open from nine to five."), NEXT], None),
        ([HELLO, assistant_message("One moment. We are open"), NEXT], "We are open"),
        ([HELLO, assistant_message("One moment. We are open..."), NEXT], "We are open"),
        ([HELLO, assistant_message("We are open"), NEXT], "We are open"),
        ([HELLO, assistant_message("One moment. "), NEXT], ""),
        ([HELLO, NEXT], ""),
        ([HELLO, assistant_message("They are closed."), NEXT], None),
        ([{"role": "user", "content": "Good morning?"}, assistant_message("We are"), NEXT], None),
    ],
)
async def test_a_truncated_reply_gives_the_heard_part(
    history: list[dict[str, str]], heard: str | None
) -> None:
    agent = fake_agent("We are open from nine to five.")
    app = create_gateway(agent)
    await send_turn(app, {"messages": [HELLO]}, headers=CALL)
    await send_turn(app, {"messages": history}, headers=CALL)
    assert agent.turns[1].heard == heard


async def test_the_same_turn_again_has_no_heard_part() -> None:
    agent = fake_agent("We are open.")
    app = create_gateway(agent, turns={"replay_window": 0.0})
    for _ in range(2):
        await send_turn(app, {"messages": [HELLO]}, headers=CALL)
    assert [turn.heard for turn in agent.turns] == [None, None]


async def test_without_a_call_there_is_no_heard_part() -> None:
    agent = fake_agent("We are open.")
    app = create_gateway(agent)
    await send_turn(app, {"messages": [HELLO]})
    await send_turn(app, {"messages": [HELLO, assistant_message("We"), NEXT]})
    assert agent.turns[1].heard is None
