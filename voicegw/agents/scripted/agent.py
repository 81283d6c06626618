"""The scripted agents, chosen by name: for demos, tests and load tests. They use no model and no network.

A script is a plain generator of steps, so tests need no clock: a number is a silence in seconds, every other
step is an event. A script leaves out silences of length zero.
"""

from __future__ import annotations

import asyncio
import inspect
import math
import re
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import partial
from typing import TypeAlias

from voicegw.agents.scripted import receptionist, tool_arguments
from voicegw.errors import AgentProtocolError, AgentUnavailable, ConfigError
from voicegw.events import Activity, Agent, Event, Finish, Turn, Usage

Steps: TypeAlias = Iterator[Event | float]
Split: TypeAlias = str | int
"""How to split a text into deltas: a key of `SPLIT_PATTERNS`, or a number of characters."""

SPLIT_PATTERNS = {"words": r"\s*\S+|\s+", "characters": r"(?s:.)", "whole": r"(?s:.)+"}
UNITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven")
TEENS = ("twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen")
TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")


@dataclass(frozen=True, slots=True)
class ScriptedAgent:
    """An agent that plays a script: it yields the events and sleeps during the silences."""

    # Returns the steps that answer one turn.
    script: Callable[[Turn], Steps]

    async def reply(self, turn: Turn) -> AsyncGenerator[Event, None]:
        """Play the script for a turn. Raises the errors that the script raises."""
        for step in self.script(turn):
            if isinstance(step, (int, float)):
                await asyncio.sleep(step)
            else:
                yield step

    async def warm(self, call: str | None = None) -> None:
        """Do nothing: a script needs no preparation."""

    async def call_ended(self, call: str) -> None:
        """Do nothing: a script keeps nothing for a call."""

    async def aclose(self) -> None:
        """Do nothing: a script has no connections."""


def make_scripted_agent(name: str, /, **options: object) -> Agent:
    """Return the agent that plays the script `name`.

    Raises `ConfigError` for an unknown script, an unknown option, or a value of a wrong type.
    """
    if name not in SCRIPTS:
        raise ConfigError(
            f'there is no script "{name}"{suggestion(name, SCRIPTS)} Scripts: {", ".join(SCRIPTS)}'
        )
    script = SCRIPTS[name]
    defaults = {p.name: p.default for p in inspect.signature(script).parameters.values() if p.name != "turn"}
    for option, given in options.items():
        if option not in defaults:
            takes = f"It takes {', '.join(defaults)}" if defaults else "It takes none"
            raise ConfigError(
                f'script "{name}" has no option "{option}"{suggestion(option, defaults)} {takes}'
            )
        if (expected := expected_value(option, given, defaults[option])) is not None:
            raise ConfigError(f'script "{name}": {option} must be {expected}, not {given!r}')
    return ScriptedAgent(partial(script, **options))


def suggestion(name: str, known: dict[str, object] | dict[str, Callable[..., Steps]]) -> str:
    """Return the end of a message that suggests the nearest known name, "." if there is none."""
    close = get_close_matches(name, known, n=1, cutoff=0)
    return f'; did you mean "{close[0]}"?' if close else "."


def expected_value(option: str, given: object, default: object) -> str | None:
    """Return a description of the valid values, None if `given` is one. `default` has the option's type."""
    is_count = type(given) is int and given >= 0
    if option == "cut":
        is_valid = given in [*SPLIT_PATTERNS] or (is_count and given)
        return None if is_valid else f"a number of characters or {', '.join(SPLIT_PATTERNS)}"
    match default:
        case bool():
            return None if isinstance(given, bool) else "true or false"
        case int():
            return None if is_count else "a whole number of at least 0"
        case float():
            is_seconds = type(given) is float and math.isfinite(given) and given >= 0
            return None if is_count or is_seconds else "a number of seconds of at least 0"
    return None if isinstance(given, str) else "text"


def split_text(text: str, cut: Split) -> list[str]:
    """Return a text in deltas. Joined, they are the text."""
    if isinstance(cut, int):
        return [text[start : start + cut] for start in range(0, len(text), cut)]
    return re.findall(SPLIT_PATTERNS[cut], text)


def speak(deltas: Iterable[str], first: float, every: float) -> Steps:
    """Yield the first delta after `first` seconds, and each other one after `every` seconds."""
    if first:
        yield first
    for index, delta in enumerate(deltas):
        if index and every:
            yield every
        yield delta


def answer_as_receptionist(turn: Turn, *, first: float = 0.35, every: float = 0.03) -> Steps:
    """Answer as the receptionist, streamed as a model streams: word by word, a tool call last."""
    try:
        text, call = receptionist.answer(turn)
    except (AttributeError, LookupError, TypeError, ValueError):  # a tool has an invalid schema
        text, call = receptionist.answer(replace(turn, tools=()))
    words = split_text(text, "words")
    limit = turn.options.get("max_completion_tokens") or turn.options.get("max_tokens") or len(words)
    yield from speak(words[:limit], first, every)
    if call and len(words) <= limit:
        yield call
    yield Usage(prompt=sum(len(m.text.split()) for m in turn.messages), completion=min(limit, len(words)))
    if len(words) > limit:
        yield Finish("length")


def echo(turn: Turn, *, cut: Split = "words", first: float = 0.0, every: float = 0.0) -> Steps:
    """Repeat the caller's words."""
    return speak(split_text(turn.said, cut), first, every)


def count(turn: Turn, *, to: int = 10, digits: bool = False, first: float = 0.0, every: float = 0.0) -> Steps:
    """Count aloud."""
    numbers = (str(n) if digits else number_in_words(n) for n in range(1, to + 1))
    return speak((f" {number}" if index else number for index, number in enumerate(numbers)), first, every)


def slow(turn: Turn, *, say: str = "Sorry for the wait.", first: float = 5.0, every: float = 0.0) -> Steps:
    """Begin late."""
    return speak(split_text(say, "words"), first, every)


def stall(turn: Turn, *, say: str = "Let me look.", first: float = 0.0, quiet: float = 3600.0) -> Steps:
    """Begin, then say nothing more until the end."""
    yield from speak(split_text(say, "words"), first, 0)
    yield quiet


def role_only(turn: Turn, *, quiet: float = 3600.0) -> Steps:
    """Say nothing for a long time, and end."""
    yield quiet


def work(turn: Turn, *, what: str = "search", quiet: float = 5.0, say: str = "I found it.") -> Steps:
    """Run a tool before the answer."""
    yield Activity(what)
    yield from speak(split_text(say, "words"), quiet, 0)


def dribble(
    turn: Turn, *, say: str = "Please bear with me.", first: float = 0.0, every: float = 0.2
) -> Steps:
    """Say one character at a time."""
    return speak(split_text(say, "characters"), first, every)


def empty(turn: Turn) -> Steps:
    """End without an event."""
    return iter(())


def think(
    turn: Turn,
    *,
    thought: str = "The caller wants a short answer.",
    say: str = "Here it is.",
    cut: Split = "words",
    first: float = 0.0,
    every: float = 0.0,
) -> Steps:
    """Stream its reasoning as text before the answer, as some models do."""
    return speak(split_text(f"<think>{thought}</think>{say}", cut), first, every)


def error_before(turn: Turn, *, after: float = 0.0) -> Steps:
    """Raise `AgentUnavailable` after a silence."""
    yield from speak([], after, 0)
    raise AgentUnavailable("the script says that the agent cannot be reached")


def error_midway(turn: Turn, *, say: str = "The answer is", first: float = 0.0, after: float = 0.0) -> Steps:
    """Begin, then raise `AgentProtocolError`."""
    yield from speak(split_text(say, "words"), first, 0)
    yield from speak([], after, 0)
    raise AgentProtocolError("the script says that the agent breaks here")


def flood(turn: Turn, *, deltas: int = 10000, size: int = 4, burst: int = 100) -> Steps:
    """Say a long text without a pause. It yields to the event loop every `burst` deltas, or never (0)."""
    delta = ("a" * size)[: size - 1] + " " if size else ""
    for spoken in range(1, deltas + 1):
        yield delta
        if burst and spoken % burst == 0:
            yield 0.0


def tool(turn: Turn, *, first: float = 0.0, every: float = 0.0) -> Steps:
    """Call the first tool that the request offers, and say its result in the next turn."""
    result = tool_arguments.result_text(turn)
    if result is None and turn.tools and turn.tool_choice != "none":
        yield from speak([], first, 0)
        yield tool_arguments.make_call(turn, turn.tools[0])
    else:
        yield from speak(split_text(result or "I was given no tool.", "words"), first, every)


def number_in_words(number: int) -> str:
    """Return a number below a million in words, a greater one in digits."""
    if number < 20:
        return (UNITS + TEENS)[number]
    if number < 100:
        return TENS[number // 10 - 2] + (f"-{UNITS[number % 10]}" if number % 10 else "")
    for size, name in ((1000, "thousand"), (100, "hundred")):
        if size <= number < 1_000_000:
            rest = f" {number_in_words(number % size)}" if number % size else ""
            return f"{number_in_words(number // size)} {name}{rest}"
    return str(number)


SCRIPT_FUNCTIONS: tuple[Callable[..., Steps], ...] = (
    *(echo, count, slow, stall, role_only, work, dribble, empty, think),
    *(error_before, error_midway, flood, tool),
)
SCRIPTS: dict[str, Callable[..., Steps]] = {
    "receptionist": answer_as_receptionist,
    **{script.__name__: script for script in SCRIPT_FUNCTIONS},
}
"""The scripts by name. The keyword arguments of a script are its options, with their defaults."""
