"""What a scripted caller does: a small TOML file of turns."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from voicegw.errors import ConfigError
from voicegw.settings import problems
from voicegw.settings.fields import optional
from voicegw.settings.problems import dotted, told
from voicegw.settings.section import Table

Seconds = Annotated[float, Field(ge=0, le=600, allow_inf_nan=False)]
KEYS = r"^[0-9*#]{1,32}$"
Digits = Annotated[str, Field(pattern=KEYS)]
MUST: Mapping[str, str] = {
    **problems.MUST,
    KEYS: "must be 1 to 32 keys: digits, * and #",
    "string_type": "must be text in quotes",
    "string_too_short": "must not be empty",
    "too_short": "there is none: add a table [[turns]], with say for example",
    "float_type": "must be a number of seconds",
    "greater_than_equal": "must be 0 or more seconds",
    "less_than_equal": "must be 600 seconds at most",
    "finite_number": "must be a number of seconds",
}
"""What a value must be, by the pattern that it did not match or the type of pydantic's error."""


Words = Annotated[str, Field(min_length=1)]


class Step(Table):
    """One turn of the caller's. Times are in seconds."""

    say: Words | None = optional("What the caller says.")
    press: Digits | None = optional("Keys that the caller presses instead, where the platform tells of keys.")
    silent: bool = Field(
        default=False, description="The caller says nothing, and the platform asks for a nudge."
    )
    wait: Seconds = Field(default=0.0, description="Pause before it.")
    partial: tuple[str, ...] = Field(
        default=(),
        strict=False,
        description="Words that the platform hears first, and that may still change.",
    )
    nonsense: bool = Field(default=False, description="Before it come frames or fields that make no sense.")
    again: Seconds | None = optional("The platform asks the same once more, so long after the first time.")
    interrupt: Seconds | None = optional("The caller speaks over the agent, so long after its first words.")
    next: Seconds | None = optional("The next turn comes so long after this one, answered or not.")
    drop: Seconds | None = optional(
        "The connection dies so long after the question, and the platform comes back."
    )
    hang_up: Seconds | None = optional("The caller hangs up so long after the question; the last step.")

    @property
    def kind(self) -> str:
        """Which of say, press and silent it is."""
        return "press" if self.press is not None else "silent" if self.silent else "say"

    @model_validator(mode="after")
    def _one_thing(self) -> Step:
        if sum((self.say is not None, self.press is not None, self.silent)) != 1:
            raise ValueError("needs one of say, press and silent")
        if sum(way is not None for way in (self.interrupt, self.next, self.drop, self.hang_up)) > 1:
            raise ValueError("interrupt, next, drop and hang_up exclude each other")
        return self


class ToolTable(Table):
    """A tool that the platform offers with each request, and what it gives when it is called."""

    name: str = Field(description="Its name.")
    description: str = Field(default="", description="What it does.")
    parameters: dict[str, Any] = Field(
        default={"type": "object", "properties": {}}, description="A JSON schema."
    )
    result: str | None = optional("What it gives; without one, nothing follows the call.")


class Patience(Table):
    """Seconds after which something has taken too long."""

    connect: Seconds = Field(default=5.0, description="Until the connection is there.")
    first_words: Seconds = Field(default=1.0, description="From the question to the first words.")
    silence: Seconds = Field(default=8.0, description="Longest silence within an answer.")
    answer: Seconds = Field(default=60.0, description="From the question to the end of the answer.")
    stop: Seconds = Field(
        default=0.25, description="From an interruption to the last word of the interrupted turn."
    )
    pong: Seconds = Field(default=0.25, description="From a ping to its answer.")


class Script(Table):
    """A call: what the caller does, turn by turn, and how patient the platform is."""

    language: str = Field(default="en-US", description="Language of the caller.")
    caller: str = Field(default="+15550100", description="The caller's number.")
    called: str = Field(default="+15550199", description="The number that was called.")
    prompt: str = Field(
        default="You answer the telephone. Be brief.",
        description="System prompt, where the platform sends one.",
    )
    greeting: str = Field(
        default="", description="What the platform itself says first, where it keeps the history."
    )
    patience: Patience = Field(default=Patience(), description="Seconds after which it has taken too long.")
    tools: tuple[ToolTable, ...] = Field(
        default=(), strict=False, description="Tools that the platform runs."
    )
    turns: tuple[Step, ...] = Field(min_length=1, strict=False, description="What the caller does.")

    @model_validator(mode="after")
    def _end(self) -> Script:
        if any(step.hang_up is not None for step in self.turns[:-1]):
            raise ValueError("turns: only the last one can have hang_up")
        if self.turns[-1].next is not None:
            raise ValueError("turns: the last one has no next")
        return self


def read(path: Path) -> Script:
    """The script in a file. Raises `ConfigError`: a line for each problem, with file, place and key."""
    try:
        data = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: this is no TOML: {error}") from None
    try:
        return Script.model_validate(data)
    except ValidationError as error:
        raise ConfigError("\n".join(f"{path}: {what}" for what in _problems(error))) from None


def _problems(error: ValidationError) -> list[str]:
    """Turns that are wrong are missing to pydantic, too; that is told only where there are none."""
    found = error.errors()
    wrong = any(details["loc"][:1] == ("turns",) and len(details["loc"]) > 1 for details in found)
    return [_problem(details) for details in found if not (wrong and details["type"] == "too_short")]


def _problem(details: ErrorDetails) -> str:
    """One problem; turns and tools are counted from 1."""
    known: type[Table]
    match details["loc"]:
        case ("turns" | "tools" as table, int(place), *rest):
            known = Step if table == "turns" else ToolTable
            where = [f"{table.removesuffix('s')} {place + 1}", dotted(tuple(rest))]
        case ("patience", *rest):
            known, where = Patience, [dotted(("patience", *rest))]
        case loc:
            known, where = Script, [dotted(loc)]
    return ": ".join(filter(None, (*where, told(details, known.model_fields, MUST))))


SHORT = Script(
    turns=(
        Step(say="Hello! When are you open?"),
        Step(say="Tell me more about what you do.", interrupt=0.8),
        Step(say="Never mind. Thank you, bye!"),
    )
)
"""What is played where no file is given."""
