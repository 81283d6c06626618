"""No agent and no key takes the places of the others, however its turns end."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.types import ASGIApp

from tests.support.asgi import RecordedResponse, send_request
from tests.support.fake_agent import FakeAgent, fake_agent
from tests.support.gateway import CHAT_REQUEST, loop_time
from voicegw.app.create import create_app
from voicegw.config.load import Config
from voicegw.security.keys import hash_secret

OLDER, NEWER = "secret-of-the-older-key", "secret-of-the-newer-key"


def gateway(agents: dict[str, FakeAgent], turns: int, *, keys: Any = None, **sections: Any) -> ASGIApp:
    """Return an application with these agents, and room for `turns` turns at a time."""
    tables = {name: {"kind": "scripted", **sections.pop(name, {})} for name in agents}
    config = {"agents": tables, "limits": {"concurrent_turns": turns}, "keys": keys or {}, **sections}
    made = iter(agents.values())
    return create_app(Config.model_validate(config), now=loop_time, agents=lambda table, config: next(made))


async def ask(app: ASGIApp, agent: str, key: str = "", **options: Any) -> RecordedResponse:
    headers = {"authorization": f"Bearer {key}"} if key else {}
    return await send_request(app, {**CHAT_REQUEST, "model": agent}, headers=headers, **options)


async def start_turns(app: ASGIApp, count: int, *names: str, **options: Any) -> list[asyncio.Task[Any]]:
    """Ask for `count` turns that go on."""
    tasks = [asyncio.create_task(ask(app, *names, **options)) for _ in range(count)]
    await asyncio.sleep(0.1)
    return tasks


async def test_an_agent_that_ignores_cancellation_takes_no_places_from_the_others() -> None:
    stubborn = fake_agent("begun ", 3600.0, closing=3600.0)
    app = gateway({"bad": stubborn, "echo": fake_agent("Hi")}, turns=8)
    for _ in range(15):
        await ask(app, "bad", hang_up=0.1)
    assert len(stubborn.turns) == 12, "twice three quarters of the turns"
    refused = await ask(app, "bad")
    assert (refused.status, refused.headers["retry-after"]) == (429, "1")
    assert "12 turns of the agent 'bad' have not ended" in refused.error["message"]
    assert (await ask(app, "echo")).text.endswith("Hi")
    await asyncio.sleep(3600.0)
    assert (await ask(app, "bad", hang_up=0.1)).status == 200
    await asyncio.sleep(3600.0)


@pytest.mark.parametrize(("section", "places"), [({}, 6), ({"concurrent_turns": 2}, 2)])
async def test_a_slow_agent_leaves_places_to_the_others(section: dict[str, int], places: int) -> None:
    slow = fake_agent(20.0, "done")
    app = gateway({"slow": slow, "echo": fake_agent("Hi")}, turns=8, slow=section)
    tasks = await start_turns(app, 8, "slow")
    assert (await ask(app, "echo")).text.endswith("Hi")
    answers = await asyncio.gather(*tasks)
    assert sorted(answer.status for answer in answers) == [200] * places + [429] * (8 - places)


async def test_the_only_agent_has_all_places() -> None:
    app = gateway({"slow": fake_agent(20.0, "done")}, turns=8)
    answers = await asyncio.gather(*await start_turns(app, 8, "slow"))
    assert [answer.status for answer in answers] == [200] * 8


async def test_a_key_with_its_own_limit_leaves_places_to_the_others() -> None:
    keys = {
        "older": {"hash": f"sha256:{hash_secret(OLDER).hex()}", "concurrent_turns": 2},
        "newer": {"hash": f"sha256:{hash_secret(NEWER).hex()}"},
    }
    app = gateway({"slow": fake_agent(20.0, "done")}, turns=4, keys=keys)
    tasks = await start_turns(app, 4, "slow", OLDER)
    answers = [await ask(app, "slow", NEWER), *await asyncio.gather(*tasks)]
    assert [answer.status for answer in answers] == [200, 200, 200, 429, 429]


async def test_a_full_agent_is_said_aloud_where_limits_are() -> None:
    limits = {"concurrent_turns": 1, "busy": "speak"}
    app = gateway({"bad": fake_agent("begun ", 9.0, closing=9.0)}, turns=1, limits=limits)
    for _ in range(2):
        await ask(app, "bad", hang_up=0.1)
    refused = await ask(app, "bad")
    assert (refused.status, refused.text) == (
        200,
        "Sorry, we are very busy right now. Please try again in a moment.",
    )
    await asyncio.sleep(20.0)
