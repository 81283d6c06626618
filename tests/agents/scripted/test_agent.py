"""Scripts are pure steps; the agent plays them: it sleeps and yields."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any

import pytest

from voicegw.agents.scripted import receptionist
from voicegw.agents.scripted.agent import (
    SCRIPTS,
    count,
    echo,
    flood,
    make_scripted_agent,
    number_in_words,
    split_text,
)
from voicegw.errors import AgentError, AgentProtocolError, AgentUnavailable, ConfigError
from voicegw.events import Activity, Agent, Event, Finish, Message, Tool, ToolCall, Turn, Usage

TURN = Turn("7", (Message("user", "Hi you"),))
TOOL = Tool("look", "", {"type": "object", "properties": {"at": {"type": "string"}}, "required": ["at"]})


def make_turn(text: str, **fields: Any) -> Turn:
    return Turn("7", (Message("user", text),), **fields)


async def timeline(agent: Agent, turn: Turn = TURN) -> list[tuple[float, Event | str]]:
    """Return each event and its time in seconds; then the name of the error, or "end"."""
    now = asyncio.get_running_loop().time
    start = now()
    timed: list[tuple[float, Event | str]] = []
    ending = "end"
    try:
        async with aclosing(agent.reply(turn)) as events:
            async for event in events:
                timed += [(round(now() - start, 9), event)]
    except AgentError as error:
        ending = type(error).__name__
    return [*timed, (round(now() - start, 9), ending)]


SCRIPT = [
    ("echo", {}, [(0, "Hi"), (0, " you"), (0, "end")]),
    ("echo", {"cut": "whole", "first": 1}, [(1, "Hi you"), (1, "end")]),
    ("echo", {"cut": 4, "first": 0.5, "every": 0.1}, [(0.5, "Hi y"), (0.6, "ou"), (0.6, "end")]),
    ("count", {"to": 3, "every": 1.5}, [(0, "one"), (1.5, " two"), (3, " three"), (3, "end")]),
    ("count", {"to": 2, "digits": True}, [(0, "1"), (0, " 2"), (0, "end")]),
    ("slow", {"say": "So."}, [(5, "So."), (5, "end")]),
    ("stall", {"say": "I look"}, [(0, "I"), (0, " look"), (3600, "end")]),
    ("role_only", {}, [(3600, "end")]),
    ("role_only", {"quiet": 9}, [(9, "end")]),
    ("work", {"say": "So."}, [(0, Activity("search")), (5, "So."), (5, "end")]),
    ("dribble", {"say": "a b"}, [(0, "a"), (0.2, " "), (0.4, "b"), (0.4, "end")]),
    ("empty", {}, [(0, "end")]),
    ("think", {"thought": "Hm.", "say": "Yes."}, [(0, "<think>Hm.</think>Yes."), (0, "end")]),
    (
        "think",
        {"cut": "whole"},
        [(0, "<think>The caller wants a short answer.</think>Here it is."), (0, "end")],
    ),
    ("error_before", {"after": 2}, [(2, "AgentUnavailable")]),
    ("error_midway", {"say": "It is", "after": 2}, [(0, "It"), (0, " is"), (2, "AgentProtocolError")]),
    ("flood", {"deltas": 3, "size": 2, "burst": 2}, [(0, "a "), (0, "a "), (0, "a "), (0, "end")]),
    ("tool", {}, [(0, "I"), (0, " was"), (0, " given"), (0, " no"), (0, " tool."), (0, "end")]),
]


@pytest.mark.parametrize(("name", "options", "expected"), SCRIPT)
async def test_a_script_yields_its_events_in_time(
    name: str, options: dict[str, Any], expected: list[Any]
) -> None:
    assert await timeline(make_scripted_agent(name, **options)) == expected


async def test_every_script_starts_and_closes() -> None:
    for name in [*SCRIPTS]:
        agent = make_scripted_agent(name)
        await agent.warm()
        await agent.warm("call")
        reply = agent.reply(TURN)
        try:
            await anext(reply, None)
        except AgentUnavailable:
            assert name == "error_before"
        await reply.aclose()
        await agent.aclose()


async def test_the_receptionist_streams_word_by_word_and_counts() -> None:
    timed = await timeline(make_scripted_agent("receptionist", every=0.1), make_turn("thanks"))
    words = ["You", " are", " very", " welcome.", " Is", " there", " anything", " else", " I", " can", " do?"]
    times = [round(0.35 + 0.1 * place, 9) for place in range(len(words))]
    assert timed == [*zip(times, words, strict=True), (1.35, Usage(prompt=1, completion=11)), (1.35, "end")]


async def test_the_receptionist_calls_the_tool_after_the_words() -> None:
    agent = make_scripted_agent("receptionist", first=0, every=0)
    events = [event for _, event in await timeline(agent, make_turn("bye", tools=(Tool("endCall"),)))]
    assert events[-3:] == [ToolCall("call_7", "endCall", "{}"), Usage(prompt=1, completion=10), "end"]
    assert "".join(events[:-3]) == receptionist.FAREWELL  # type: ignore[arg-type]


@pytest.mark.parametrize("option", ["max_tokens", "max_completion_tokens"])
async def test_the_receptionist_stops_at_the_length_asked_for(option: str) -> None:
    agent = make_scripted_agent("receptionist", first=0, every=0)
    turn = make_turn("bye", tools=(Tool("endCall"),), options={option: 2})
    events = [event for _, event in await timeline(agent, turn)]
    assert events == ["Thank", " you", Usage(prompt=1, completion=2), Finish("length"), "end"]
    complete = [event for _, event in await timeline(agent, make_turn("bye", options={option: 10}))]
    assert complete[-2:] == [Usage(prompt=1, completion=10), "end"]


async def test_the_tool_script_calls_the_first_tool_and_then_says_its_result() -> None:
    agent = make_scripted_agent("tool", first=1)
    asked = make_turn("the moon", tools=(TOOL, Tool("other")))
    result = Turn("8", (*asked.messages, Message("assistant"), Message("tool", "round")), tools=(TOOL,))
    words = ["Here", " is", " what", " I", " found:", " round."]
    assert await timeline(agent, asked) == [(1, ToolCall("call_7", "look", '{"at":"the moon"}')), (1, "end")]
    assert await timeline(agent, result) == [*((1, word) for word in words), (1, "end")]


async def test_the_tool_script_honours_tool_choice_none() -> None:
    timed = await timeline(make_scripted_agent("tool"), make_turn("go", tools=(TOOL,), tool_choice="none"))
    assert timed[0] == (0, "I")


@pytest.mark.parametrize("cut", ["words", "characters", "whole", 1, 3, 100])
@pytest.mark.parametrize("text", ["", " ", "Hi", "  Hi\n\nyou  ", "a b\tc", "naïve 👩‍👩‍👧 day"])
def test_split_text_joined_is_the_text(text: str, cut: str | int) -> None:
    assert "".join(split_text(text, cut)) == text


def test_silences_of_length_zero_are_no_steps() -> None:
    assert [*echo(TURN, first=0.0, every=0.0)] == ["Hi", " you"]


def test_a_flood_yields_to_the_loop_after_every_burst() -> None:
    assert [*flood(TURN, deltas=4, size=3, burst=2)] == ["aa ", "aa ", 0.0, "aa ", "aa ", 0.0]
    assert [*flood(TURN, deltas=2, size=1, burst=0)] == [" ", " "]
    assert sum(isinstance(step, str) for step in flood(TURN)) == 10_000


def test_counting_is_lazy() -> None:
    assert next(count(TURN, to=10**12)) == "one"


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (0, "zero"),
        (12, "twelve"),
        (20, "twenty"),
        (99, "ninety-nine"),
        (100, "one hundred"),
        (342, "three hundred forty-two"),
        (10_001, "ten thousand one"),
        (999_999, "nine hundred ninety-nine thousand nine hundred ninety-nine"),
        (1_000_000, "1000000"),
    ],
)
def test_numbers_are_written_in_words(number: int, words: str) -> None:
    assert number_in_words(number) == words


NO = "has no option"
SECONDS = "a number of seconds of at least 0"
CUT = "a number of characters or words, characters, whole"


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("ecko", {}, f'there is no script "ecko"; did you mean "echo"? Scripts: {", ".join(SCRIPTS)}'),
        (
            "slow",
            {"frist": 1},
            f'script "slow" {NO} "frist"; did you mean "first"? It takes say, first, every',
        ),
        ("empty", {"first": 1}, f'script "empty" {NO} "first". It takes none'),
        ("echo", {"name": 1}, f'script "echo" {NO} "name"; did you mean "every"? It takes cut, first, every'),
        ("echo", {"turn": 1}, f'script "echo" {NO} "turn"; did you mean "cut"? It takes cut, first, every'),
        ("echo", {"first": "1"}, f"script \"echo\": first must be {SECONDS}, not '1'"),
        ("echo", {"first": -1}, f'script "echo": first must be {SECONDS}, not -1'),
        ("echo", {"first": True}, f'script "echo": first must be {SECONDS}, not True'),
        ("echo", {"every": float("inf")}, f'script "echo": every must be {SECONDS}, not inf'),
        ("echo", {"cut": 0}, f'script "echo": cut must be {CUT}, not 0'),
        ("echo", {"cut": []}, f'script "echo": cut must be {CUT}, not []'),
        ("count", {"to": 1.5}, 'script "count": to must be a whole number of at least 0, not 1.5'),
        ("count", {"digits": 1}, 'script "count": digits must be true or false, not 1'),
        ("slow", {"say": 1}, 'script "slow": say must be text, not 1'),
    ],
)
def test_an_invalid_script_or_option_is_refused(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        make_scripted_agent(name, **options)
    assert str(refused.value) == message


def test_the_receptionist_is_the_first_script() -> None:
    assert next(iter(SCRIPTS)) == "receptionist"
    assert SCRIPTS.keys() >= {
        "echo",
        "count",
        "slow",
        "stall",
        "role_only",
        "dribble",
        "empty",
        "think",
        "work",
    }
    assert SCRIPTS.keys() >= {"error_before", "error_midway", "flood", "tool"}


async def test_errors_say_that_they_were_scripted() -> None:
    with pytest.raises(AgentUnavailable, match="the script says"):
        await anext(make_scripted_agent("error_before").reply(TURN))
    with pytest.raises(AgentProtocolError, match="the script says"):
        await anext(make_scripted_agent("error_midway", say="").reply(TURN))
