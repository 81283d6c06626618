"""Agents of every framework on a served gateway: tools, interruptions, and what they remember."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.agents.python.frameworks.live import served
from tests.agents.python.frameworks.staff import FRAMEWORKS, LOOK, Desk
from tests.agents.upstream import wait_until

pytestmark = pytest.mark.wire

TARGET = f"{__name__}:desk"
HELLO = ("user", "I am Ann.")
desk: Any = None
"""The agent that is served."""
Hire = Callable[..., Desk]


@pytest.fixture(params=FRAMEWORKS)
def hire(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Hire:
    """Makes the agent of one framework, whose model says these lines."""
    pytest.importorskip(request.param)

    def hired(*lines: Any) -> Desk:
        made = Desk([*lines])
        FRAMEWORKS[request.param](made)
        monkeypatch.setattr(f"{__name__}.desk", made.agent)
        return made

    return hired


async def test_a_tool_is_not_spoken(hire: Hire) -> None:
    found = hire(LOOK, ["It is ", "open."])
    found.opened.set()
    async with served(TARGET, found.options) as gateway:
        assert await gateway.say(HELLO) == "It is open."
    assert found.histories == [[HELLO], [HELLO]]


async def test_a_line_of_progress_is_spoken_while_a_tool_runs(hire: Hire) -> None:
    found = hire(LOOK, ["It is ", "open."])
    progress = {"en": ["Still looking"]}
    async with (
        served(TARGET, found.options, every=0.05, progress=progress) as gateway,
        gateway.ask(HELLO) as answer,
    ):
        await answer.until("Still looking")
        found.opened.set()
        assert (await answer.end()).replace("Still looking. ", "") == "It is open."


async def test_a_caller_who_hangs_up_stops_the_model(hire: Hire) -> None:
    found = hire(["One. ", None])
    async with served(TARGET, found.options) as gateway:
        async with gateway.ask(HELLO) as answer:
            await answer.until("One.")
            await found.waiting.wait()
        await wait_until(lambda: found.log == ["stopped"])


async def test_a_caller_who_hangs_up_stops_the_tool(hire: Hire) -> None:
    found = hire(LOOK, ["It is open."], ["Yes?"])
    async with served(TARGET, found.options, every=0.05, progress={"en": ["Still looking"]}) as gateway:
        async with gateway.ask(HELLO) as answer:
            await answer.until("Still looking")
        assert await gateway.say(HELLO, ("user", "Are you there?")) == "It is open."
    assert found.histories[1:] == [[HELLO, ("user", "Are you there?")]]


async def test_a_newer_turn_stops_the_model_and_has_the_heard_part(hire: Hire) -> None:
    found = hire(["One. ", "Two. ", None], ["Three."])
    async with served(TARGET, found.options) as gateway, gateway.ask(HELLO) as answer:
        await answer.until("Two.")
        await found.waiting.wait()
        heard = [HELLO, ("assistant", "One."), ("user", "Wait!")]
        assert await gateway.say(*heard) == "Three."
        assert found.log == ["stopped"]
        assert await answer.end() == "One. Two. "
    assert found.histories == [[HELLO], heard]


async def test_the_second_turn_has_the_first_answer_without_acknowledgements(hire: Hire) -> None:
    found = hire(["Hello ", "Ann."], ["Ann."], ["Hello Bo."])
    async with served(TARGET, found.options, after=0, phrases={"en": ["One moment"]}) as gateway:
        first = await gateway.say(HELLO)
        assert first == "One moment. Hello Ann."
        asked = [("assistant", first), ("user", "Who am I?")]
        assert (await gateway.say(HELLO, *asked)).endswith("Ann.")
        assert (await gateway.say(("user", "I am Bo."), call="other")).endswith("Hello Bo.")
    known = [HELLO, ("assistant", "Hello Ann."), ("user", "Who am I?")]
    assert found.histories == [[HELLO], known, [("user", "I am Bo.")]]
