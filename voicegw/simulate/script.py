"""The script of a simulated call: a small TOML file of the caller's turns (docs/simulate.md).

It describes the caller's actions and their times; `call_runner` and `http_runner` carry it out.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from voicegw.errors import ConfigError
from voicegw.settings import problems
from voicegw.settings.fields import optional
from voicegw.settings.problems import describe, format_key_path
from voicegw.settings.section import Section

Seconds = Annotated[float, Field(ge=0, le=600, allow_inf_nan=False)]
DTMF_PATTERN = r"^[0-9*#]{1,32}$"
Digits = Annotated[str, Field(pattern=DTMF_PATTERN)]
REQUIREMENTS: Mapping[str, str] = {
    **problems.REQUIREMENTS,
    DTMF_PATTERN: "must be 1 to 32 keys: digits, * and #",
    "string_type": "must be text in quotes",
    "string_too_short": "must not be empty",
    "too_short": "there is none: add a table [[turns]], with say for example",
    "float_type": "must be a number of seconds",
    "greater_than_equal": "must be 0 or more seconds",
    "less_than_equal": "must be 600 seconds at most",
    "finite_number": "must be a number of seconds",
}
"""The requirement of a value, by the pattern that it does not match or the type of pydantic's error."""


def _check_pattern(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"must be a regular expression: {error}") from None
    return pattern


Pattern = Annotated[str, Field(min_length=1), AfterValidator(_check_pattern)]
NonEmptyText = Annotated[str, Field(min_length=1)]


class CallStep(Section):
    """One turn of the caller. Times are in seconds."""

    say: NonEmptyText | None = optional("The words of the caller.")
    press: Digits | None = optional("Keys that the caller presses instead, where the platform reports DTMF.")
    silent: bool = Field(
        default=False, description="The caller says nothing, and the platform asks for a reminder."
    )
    wait: Seconds = Field(default=0.0, description="Pause before the turn.")
    partial: tuple[str, ...] = Field(
        default=(),
        strict=False,
        description="Partial transcripts that the platform sends before the final one.",
    )
    nonsense: bool = Field(default=False, description="Send malformed frames or unknown fields before it.")
    again: Seconds | None = optional("The platform sends the same question again, this long after it.")
    interrupt: Seconds | None = optional("The caller interrupts the agent, this long after its first words.")
    late_interrupt: Seconds | None = optional(
        "The platform reports, this long after the question, that the answer before it was interrupted."
    )
    next: Seconds | None = optional("The next turn begins this long after this one, answered or not.")
    drop: Seconds | None = optional(
        "The connection is lost this long after the question, and the platform reconnects."
    )
    resend: bool = Field(
        default=True, description="With `drop`: the platform sends the question again, where it may leave it."
    )
    refused: Pattern | None = optional(
        "The gateway refuses the agent's transfer; the agent then says this, a regular expression."
    )
    hang_up: Seconds | None = optional("The caller hangs up this long after the question; last turn only.")

    @property
    def kind(self) -> str:
        """One of "say", "press" and "silent"."""
        return "press" if self.press is not None else "silent" if self.silent else "say"

    @model_validator(mode="after")
    def _check_exclusive_keys(self) -> CallStep:
        if sum((self.say is not None, self.press is not None, self.silent)) != 1:
            raise ValueError("needs one of say, press and silent")
        if not self.resend and self.drop is None:
            raise ValueError("resend needs drop")
        endings = (self.interrupt, self.next, self.drop, self.hang_up)
        if sum(ending is not None for ending in endings) > 1:
            raise ValueError("interrupt, next, drop and hang_up exclude each other")
        return self


class ScriptTool(Section):
    """A tool that the platform offers with each request, and its result."""

    name: str = Field(description="Name of the tool.")
    description: str = Field(default="", description="Purpose of the tool, for the agent.")
    parameters: dict[str, Any] = Field(
        default={"type": "object", "properties": {}}, description="JSON schema of the arguments."
    )
    result: str | None = optional("Result of the tool; without one, no request follows the call.")


class ScriptTimeouts(Section):
    """Seconds after which something has taken too long."""

    connect: Seconds = Field(default=5.0, description="Until the connection is open.")
    first_words: Seconds = Field(default=1.0, description="From the question to the first words.")
    silence: Seconds = Field(default=8.0, description="Longest silence within an answer.")
    answer: Seconds = Field(default=60.0, description="From the question to the end of the answer.")
    stop: Seconds = Field(
        default=0.25, description="From an interruption to the last word of the interrupted turn."
    )
    dead_air: Seconds = Field(
        default=8.0, description="From an interruption without words to the agent's next words."
    )
    pong: Seconds = Field(default=0.25, description="From a ping to its pong.")


class CallScript(Section):
    """A call: the caller's turns, and the timeouts of the platform."""

    language: str = Field(default="en-US", description="Language of the caller.")
    caller: str = Field(default="+15550100", description="The caller's number.")
    called: str = Field(default="+15550199", description="The number that was called.")
    prompt: str = Field(
        default="You answer the telephone. Be brief.",
        description="System prompt, where the platform sends one.",
    )
    greeting: str = Field(
        default="", description="First words of the platform itself, where it keeps the history."
    )
    patience: ScriptTimeouts = Field(
        default=ScriptTimeouts(), description="Seconds after which something has taken too long."
    )
    tools: tuple[ScriptTool, ...] = Field(
        default=(), strict=False, description="Tools that the platform runs."
    )
    turns: tuple[CallStep, ...] = Field(min_length=1, strict=False, description="The caller's turns.")

    @model_validator(mode="after")
    def _check_last_turn(self) -> CallScript:
        if any(step.hang_up is not None for step in self.turns[:-1]):
            raise ValueError("turns: only the last one can have hang_up")
        if self.turns[-1].next is not None:
            raise ValueError("turns: the last one has no next")
        return self


def load_script(path: Path) -> CallScript:
    """Read the script in a TOML file.

    Raises `ConfigError` if the file cannot be read or is wrong: one line for each problem, with file, place
    and key.
    """
    try:
        data = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: is not TOML: {error}") from None
    try:
        return CallScript.model_validate(data)
    except ValidationError as error:
        raise ConfigError("\n".join(f"{path}: {problem}" for problem in _describe_all(error))) from None


def _describe_all(error: ValidationError) -> list[str]:
    """Describe each problem.

    pydantic drops invalid turns, and then also reports that there are too few: that is left out.
    """
    found = error.errors()
    has_wrong_turn = any(details["loc"][:1] == ("turns",) and len(details["loc"]) > 1 for details in found)
    return [
        _describe(details) for details in found if not (has_wrong_turn and details["type"] == "too_short")
    ]


def _describe(details: ErrorDetails) -> str:
    """Describe one problem; turns and tools are counted from 1."""
    section: type[Section]
    match details["loc"]:
        case ("turns" | "tools" as table, int(place), *rest):
            section = CallStep if table == "turns" else ScriptTool
            where = [f"{table.removesuffix('s')} {place + 1}", format_key_path(tuple(rest))]
        case ("patience", *rest):
            section, where = ScriptTimeouts, [format_key_path(("patience", *rest))]
        case loc:
            section, where = CallScript, [format_key_path(loc)]
    return ": ".join(filter(None, (*where, describe(details, section.model_fields, REQUIREMENTS))))


DEFAULT_SCRIPT = CallScript(
    turns=(
        CallStep(say="Hello! When are you open?"),
        CallStep(say="Tell me more about what you do.", interrupt=0.8),
        CallStep(say="Never mind. Thank you, bye!"),
    )
)
"""The script of a simulation without `--script`."""
