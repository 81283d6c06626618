"""Python code as an agent: loaded or refused at start, and its events checked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import wraps
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from voicegw.agents.python.agent import load
from voicegw.errors import AgentBusy, AgentError, AgentProtocolError, ConfigError
from voicegw.events import Activity, Agent, Event, Finish, Message, ToolCall, Turn, Usage

HERE = __name__
TURN = Turn("7", (Message("user", "Hi"),))
EVENTS: list[Event] = ["Hello", ToolCall("1", "look"), Activity("bash"), Usage(1, 2), Finish("stop")]
log: list[str] = []


class Word(str):
    pass


async def reply(turn: Turn, tone: str = "plain") -> AsyncGenerator[Event, None]:
    yield f"{turn.said}, {tone}"


async def everything(turn: Turn) -> AsyncGenerator[Event, None]:
    for event in EVENTS:
        yield event
    yield Word("!")


async def wild(turn: Turn, **options: str) -> AsyncGenerator[Event, None]:
    yield str(options)


async def nothing_spoken(turn: Turn) -> AsyncGenerator[Any, None]:
    yield None


async def failing(turn: Turn) -> AsyncGenerator[Event, None]:
    yield "Well"
    raise KeyError("door")


def plain_decorator(function: Any) -> Any:
    """Decorate with a plain function around the one that yields."""

    @wraps(function)
    def call(*given: Any) -> Any:
        return function(*given)

    return call


@plain_decorator
async def decorated(turn: Turn) -> AsyncGenerator[Event, None]:
    yield "Hello from inside"


async def endless(turn: Turn) -> AsyncGenerator[Event, None]:
    while True:
        yield "on and "


async def busy(turn: Turn) -> AsyncGenerator[Event, None]:
    raise AgentBusy("later")
    yield ""


async def lingering(turn: Turn) -> AsyncGenerator[Event, None]:
    try:
        yield "One"
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        log.append("cancelled")
        raise
    finally:
        log.append("closed")


async def stubborn(turn: Turn) -> AsyncGenerator[Event, None]:
    try:
        yield "One"
    finally:
        raise ValueError("no way")


async def without_yield(turn: Turn) -> str:
    return "Hi"


async def turnless() -> AsyncGenerator[Event, None]:
    yield "Hi"


async def greedy(turn: Turn, tone: str, *, loud: bool) -> AsyncGenerator[Event, None]:
    yield tone


class Parrot:
    def __init__(self, word: str = "Hi") -> None:
        if not word:
            raise ValueError("a word, please")
        self.word = word

    async def reply(self, turn: Turn) -> AsyncGenerator[Event, None]:
        yield self.word


class WithHooks(Parrot):
    async def warm(self, call: str | None = None) -> None:
        log.append(f"warm {call}")

    async def aclose(self) -> None:
        log.append("aclose")

    async def call_ended(self, call: str) -> None:
        log.append(f"call_ended {call}")


class PlainClose(Parrot):
    def aclose(self) -> None:
        pass


class WrongWarm(Parrot):
    async def warm(self) -> None:
        pass


class Demanding(Parrot):
    def __init__(self, word: str) -> None:
        super().__init__(word)


class Mute:
    pass


parrot = Parrot("Ahoy")
nested = SimpleNamespace(birds=SimpleNamespace(parrot=parrot))
number = 4


@pytest.fixture(autouse=True)
def _fresh() -> None:
    log.clear()


async def collect_events(agent: Agent) -> list[Event]:
    async with aclosing(agent.reply(TURN)) as events:
        return [event async for event in events]


@pytest.mark.parametrize(
    ("name", "options", "text"),
    [
        ("reply", {}, "Hi, plain"),
        ("reply", {"tone": "merry"}, "Hi, merry"),
        ("greedy", {"tone": "merry", "loud": True}, "merry"),
        ("wild", {"any": "thing"}, "{'any': 'thing'}"),
        ("decorated", {}, "Hello from inside"),
        ("Parrot", {}, "Hi"),
        ("Parrot", {"word": "Arr"}, "Arr"),
        ("parrot", {}, "Ahoy"),
        ("nested.birds.parrot", {}, "Ahoy"),
    ],
)
async def test_a_function_a_class_and_an_object_can_answer(
    name: str, options: dict[str, Any], text: str
) -> None:
    agent = load(f"{HERE}:{name}", options)
    assert await collect_events(agent) == [text]
    await agent.warm("call")
    await agent.aclose()


async def test_every_kind_of_event_passes_through_as_it_is() -> None:
    events = await collect_events(load(f"{HERE}:everything"))
    assert events == [*EVENTS, "!"]
    assert all(event is yielded for event, yielded in zip(events, EVENTS, strict=False))


async def test_the_hooks_of_an_object_are_called() -> None:
    agent = load(f"{HERE}:WithHooks")
    await agent.warm()
    await agent.warm("call")
    await agent.call_ended("call")
    await agent.aclose()
    assert log == ["warm None", "warm call", "call_ended call", "aclose"]


INSTALLED = "is it installed, or its folder on PYTHONPATH?"
MISSING = "missing a required argument:"
ONE_TURN = "it must take the turn, and nothing else without a default"
CONSTRUCTOR = "its constructor must accept the options, and need nothing else"
HOOKS = "expected are warm(call), aclose() and call_ended(call)"
NEEDS = "expected is `async def reply(turn)` with a `yield` in it, or an object or a class that has one"


@pytest.mark.parametrize(
    ("target", "options", "message"),
    [
        ("agent.py", {}, 'target "agent.py" is not of the form "package.module:name"'),
        (":reply", {}, 'target ":reply" is not of the form "package.module:name"'),
        ("a:b c", {}, 'target "a:b c" is not of the form "package.module:name"'),
        ("no_such.agent:reply", {}, f'there is no module "no_such" (no_such.agent); {INSTALLED}'),
        ("tests.absent:reply", {}, f'there is no module "tests.absent" (tests.absent); {INSTALLED}'),
        ("HERE:replay", {}, 'HERE:replay: there is no "replay" in HERE; did you mean "reply"?'),
        ("HERE:nested.zzz", {}, 'HERE:nested.zzz: there is no "zzz" in SimpleNamespace'),
        ("HERE:without_yield", {}, f"HERE:without_yield is a coroutine function: it has no `yield`; {NEEDS}"),
        ("HERE:number", {}, f"HERE:number is an object of type int; {NEEDS}"),
        ("HERE:Mute", {}, f"HERE:Mute is a class without `reply`; {NEEDS}"),
        ("HERE:turnless", {}, f"HERE:turnless() does not fit: too many positional arguments; {ONE_TURN}"),
        ("HERE:greedy", {}, f"HERE:greedy(turn, tone, *, loud) does not fit: {MISSING} 'tone'; {ONE_TURN}"),
        ("HERE:reply", {"tune": 1}, 'HERE:reply takes no option "tune"; its parameters: turn, tone'),
        ("HERE:Parrot", {"wrd": 1}, 'HERE:Parrot takes no option "wrd"; its parameters: word'),
        (
            "HERE:Parrot",
            {"word": ""},
            f"HERE:Parrot could not be made: ValueError at {__file__}:110: a word, please",
        ),
        ("HERE:Demanding", {}, f"HERE:Demanding(word) does not fit: {MISSING} 'word'; {CONSTRUCTOR}"),
        ("HERE:parrot", {"word": 1}, "HERE:parrot is an object that is already made: it takes no options"),
        ("HERE:PlainClose", {}, "HERE:PlainClose.aclose is a plain function; expected is `async def aclose`"),
        ("HERE:WrongWarm", {}, f"HERE:WrongWarm.warm() does not fit: too many positional arguments; {HOOKS}"),
    ],
)
def test_a_target_that_cannot_answer_is_refused_at_start(
    target: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        load(target.replace("HERE", HERE), options)
    assert str(refused.value) == message.replace("HERE", HERE)


def test_an_option_cannot_replace_the_turn() -> None:
    with pytest.raises(ConfigError, match="multiple values for argument 'turn'"):
        load(f"{HERE}:reply", {"turn": 1})


@pytest.mark.parametrize(
    ("name", "source", "message"),
    [
        (
            "vgw_wants",
            "import vgw_absent.part",
            'module "vgw_wants" imports "vgw_absent", which is not installed',
        ),
        ("vgw_breaks", "1 / 0", 'module "vgw_breaks" failed at import: ZeroDivisionError at '),
        (
            "vgw_hides",
            "from vgw_hides.part import Agent",
            'module "vgw_hides" imports from "vgw_hides" and finds itself; give the file another name',
        ),
        (
            "vgw_itself",
            "from vgw_itself import Agent",
            'module "vgw_itself" imports from "vgw_itself" and finds itself; give the file another name',
        ),
        ("vgw_typo", "def", 'module "vgw_typo" failed at import: SyntaxError at '),
    ],
)
def test_a_module_that_cannot_be_imported_says_why(
    name: str, source: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / f"{name}.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError) as refused:
        load(f"{name}:reply")
    assert str(refused.value).startswith(message)


async def test_an_event_of_a_wrong_type_is_a_protocol_error() -> None:
    with pytest.raises(AgentProtocolError) as raised:
        await collect_events(load(f"{HERE}:nothing_spoken"))
    wrong = f"{HERE}:nothing_spoken yielded NoneType; expected are str, ToolCall, Activity, Usage, Finish"
    assert str(raised.value) == wrong


async def test_an_exception_of_the_code_is_an_agent_error_with_its_cause() -> None:
    reply = load(f"{HERE}:failing").reply(TURN)
    assert await anext(reply) == "Well"
    with pytest.raises(AgentError) as raised:
        await anext(reply)
    assert raised.value.summary.startswith(f"{HERE}:failing raised KeyError at {__file__}:")
    assert raised.value.quote == "'door'"
    assert isinstance(raised.value.__cause__, KeyError)


async def test_an_agent_error_of_the_code_passes_untouched() -> None:
    with pytest.raises(AgentBusy, match="later"):
        await collect_events(load(f"{HERE}:busy"))


async def test_closing_the_reply_closes_the_code_at_once() -> None:
    reply = load(f"{HERE}:lingering").reply(TURN)
    assert await anext(reply) == "One"
    await reply.aclose()
    assert log == ["closed"]


async def test_cancelling_the_reply_cancels_the_code() -> None:
    task = asyncio.create_task(collect_events(load(f"{HERE}:lingering")))
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert log == ["cancelled", "closed"]


async def test_code_that_fails_while_it_is_closed_is_an_agent_error() -> None:
    reply = load(f"{HERE}:stubborn").reply(TURN)
    assert await anext(reply) == "One"
    with pytest.raises(AgentError, match=r"stubborn raised ValueError at .*: no way"):
        await reply.aclose()


async def test_code_that_never_waits_yields_to_the_loop_and_can_be_cancelled() -> None:
    task = asyncio.create_task(collect_events(load(f"{HERE}:endless")))
    for _ in range(10):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
