"""Agents that play a part, chosen by name: for demos, for tests and for load.

A script is a plain generator of steps, so that it can be read, and tested, without a clock: a number
is a silence in seconds, everything else is an event. A step of no length is left out by its script.
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

from voicegw.agents.scripted import receptionist
from voicegw.agents.scripted import tool_arguments as toolcalls
from voicegw.errors import AgentProtocolError, AgentUnavailable, ConfigError
from voicegw.events import Activity, Agent, Event, Finish, Turn, Usage

Steps: TypeAlias = Iterator[Event | float]
Cut: TypeAlias = str | int

CUTS = {"words": r"\s*\S+|\s+", "characters": r"(?s:.)", "whole": r"(?s:.)+"}
UNITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven")
TEENS = ("twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen")
TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")


@dataclass(frozen=True, slots=True)
class ScriptedAgent:
    """An agent that plays a script: yields its events and sleeps through its silences."""

    script: Callable[[Turn], Steps]

    async def reply(self, turn: Turn) -> AsyncGenerator[Event, None]:
        for step in self.script(turn):
            if isinstance(step, (int, float)):
                await asyncio.sleep(step)
            else:
                yield step

    async def warm(self, call: str | None = None) -> None:
        pass

    async def call_ended(self, call: str) -> None:
        """Nothing is kept."""

    async def aclose(self) -> None:
        pass


def scripted(name: str, /, **options: object) -> Agent:
    """The agent of that name. Raises `ConfigError` for a name, an option or a value that does not exist."""
    if name not in SCRIPTS:
        raise ConfigError(
            f'there is no script "{name}"{nearest(name, SCRIPTS)} Scripts: {", ".join(SCRIPTS)}'
        )
    script = SCRIPTS[name]
    defaults = {p.name: p.default for p in inspect.signature(script).parameters.values() if p.name != "turn"}
    for option, given in options.items():
        if option not in defaults:
            takes = f"It takes {', '.join(defaults)}" if defaults else "It takes none"
            raise ConfigError(f'script "{name}" has no option "{option}"{nearest(option, defaults)} {takes}')
        if (wanted := unlike(option, given, defaults[option])) is not None:
            raise ConfigError(f'script "{name}": {option} must be {wanted}, not {given!r}')
    return ScriptedAgent(partial(script, **options))


def nearest(name: str, known: dict[str, object] | dict[str, Callable[..., Steps]]) -> str:
    close = get_close_matches(name, known, n=1, cutoff=0)
    return f'; did you mean "{close[0]}"?' if close else "."


def unlike(option: str, given: object, default: object) -> str | None:
    """What the option should have been, or None when the given value will do."""
    count = type(given) is int and given >= 0
    if option == "cut":
        fits = given in [*CUTS] or (count and given)
        return None if fits else f"a number of characters or {', '.join(CUTS)}"
    match default:
        case bool():
            return None if isinstance(given, bool) else "true or false"
        case int():
            return None if count else "a whole number of at least 0"
        case float():
            seconds = type(given) is float and math.isfinite(given) and given >= 0
            return None if count or seconds else "a number of seconds of at least 0"
    return None if isinstance(given, str) else "text"


def pieces(text: str, cut: Cut) -> list[str]:
    """Cut a text into deltas. Joined again, they are the text."""
    if isinstance(cut, int):
        return [text[start : start + cut] for start in range(0, len(text), cut)]
    return re.findall(CUTS[cut], text)


def speak(deltas: Iterable[str], first: float, every: float) -> Steps:
    """One delta after `first` seconds, then one `every` so many."""
    if first:
        yield first
    for place, delta in enumerate(deltas):
        if place and every:
            yield every
        yield delta


def front_desk(turn: Turn, *, first: float = 0.35, every: float = 0.03) -> Steps:
    """The receptionist, streamed as a model streams: word by word, a tool call last."""
    try:
        text, call = receptionist.answer(turn)
    except (AttributeError, LookupError, TypeError, ValueError):  # a tool's schema made no sense
        text, call = receptionist.answer(replace(turn, tools=()))
    words = pieces(text, "words")
    most = turn.options.get("max_completion_tokens") or turn.options.get("max_tokens") or len(words)
    yield from speak(words[:most], first, every)
    if call and len(words) <= most:
        yield call
    yield Usage(prompt=sum(len(m.text.split()) for m in turn.messages), completion=min(most, len(words)))
    if len(words) > most:
        yield Finish("length")


def echo(turn: Turn, *, cut: Cut = "words", first: float = 0.0, every: float = 0.0) -> Steps:
    """Says what the caller said."""
    return speak(pieces(turn.said, cut), first, every)


def count(turn: Turn, *, to: int = 10, digits: bool = False, first: float = 0.0, every: float = 0.0) -> Steps:
    """Counts aloud."""
    numbers = (str(n) if digits else in_words(n) for n in range(1, to + 1))
    return speak((f" {number}" if place else number for place, number in enumerate(numbers)), first, every)


def slow(turn: Turn, *, say: str = "Sorry for the wait.", first: float = 5.0, every: float = 0.0) -> Steps:
    """Takes long to begin."""
    return speak(pieces(say, "words"), first, every)


def stall(turn: Turn, *, say: str = "Let me look.", first: float = 0.0, quiet: float = 3600.0) -> Steps:
    """Begins, then says nothing more until it ends."""
    yield from speak(pieces(say, "words"), first, 0)
    yield quiet


def role_only(turn: Turn, *, quiet: float = 3600.0) -> Steps:
    """Takes the turn, says nothing for long and ends."""
    yield quiet


def work(turn: Turn, *, what: str = "search", quiet: float = 5.0, say: str = "I found it.") -> Steps:
    """Works with a tool of its own before it speaks."""
    yield Activity(what)
    yield from speak(pieces(say, "words"), quiet, 0)


def dribble(
    turn: Turn, *, say: str = "Please bear with me.", first: float = 0.0, every: float = 0.2
) -> Steps:
    """Says one character at a time."""
    return speak(pieces(say, "characters"), first, every)


def empty(turn: Turn) -> Steps:
    """Ends at once."""
    return iter(())


def think(
    turn: Turn,
    *,
    thought: str = "The caller wants a short answer.",
    say: str = "Here it is.",
    cut: Cut = "words",
    first: float = 0.0,
    every: float = 0.0,
) -> Steps:
    """Thinks aloud, as some models do, before it answers."""
    return speak(pieces(f"<think>{thought}</think>{say}", cut), first, every)


def error_before(turn: Turn, *, after: float = 0.0) -> Steps:
    """Cannot be reached."""
    yield from speak([], after, 0)
    raise AgentUnavailable("the script says that the agent cannot be reached")


def error_midway(turn: Turn, *, say: str = "The answer is", first: float = 0.0, after: float = 0.0) -> Steps:
    """Begins, then breaks."""
    yield from speak(pieces(say, "words"), first, 0)
    yield from speak([], after, 0)
    raise AgentProtocolError("the script says that the agent breaks here")


def flood(turn: Turn, *, deltas: int = 10000, size: int = 4, burst: int = 100) -> Steps:
    """Says a great deal without a pause; others get a turn after every `burst` deltas, or never if 0."""
    delta = ("a" * size)[: size - 1] + " " if size else ""
    for spoken in range(1, deltas + 1):
        yield delta
        if burst and spoken % burst == 0:
            yield 0.0


def tool(turn: Turn, *, first: float = 0.0, every: float = 0.0) -> Steps:
    """Calls the first tool that is offered and tells what came of it."""
    found = toolcalls.result(turn)
    if found is None and turn.tools and turn.tool_choice != "none":
        yield from speak([], first, 0)
        yield toolcalls.call(turn, turn.tools[0])
    else:
        yield from speak(pieces(found or "I was given no tool.", "words"), first, every)


def in_words(number: int) -> str:
    """A number below a million in words; from there on in digits."""
    if number < 20:
        return (UNITS + TEENS)[number]
    if number < 100:
        return TENS[number // 10 - 2] + (f"-{UNITS[number % 10]}" if number % 10 else "")
    for size, name in ((1000, "thousand"), (100, "hundred")):
        if size <= number < 1_000_000:
            rest = f" {in_words(number % size)}" if number % size else ""
            return f"{in_words(number // size)} {name}{rest}"
    return str(number)


PARTS: tuple[Callable[..., Steps], ...] = (
    *(echo, count, slow, stall, role_only, work, dribble, empty, think),
    *(error_before, error_midway, flood, tool),
)
SCRIPTS: dict[str, Callable[..., Steps]] = {
    "receptionist": front_desk,
    **{script.__name__: script for script in PARTS},
}
"""Every script by its name. Its options are its keyword arguments, with their defaults."""
