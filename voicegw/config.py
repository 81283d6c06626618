"""The configuration: one TOML file, checked whole before anything starts.

Only this module and `voicegw.cli` read files and the environment. What is wrong with a file is
reported together, one line per problem, as `ConfigError`. Secrets stay in the environment: the file
names the variable, `load` looks it up, and no message ever shows a value.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from voicegw import guard, problems
from voicegw.agent_tables import Ack, Table
from voicegw.errors import ConfigError
from voicegw.fields import (
    ATTRIBUTE,
    HASH,
    HEADER,
    HOST,
    LANGUAGE,
    LINE,
    NAME,
    ORIGIN,
    PHRASE,
    TARGET,
    VARIABLE,
    VISIBLE,
)
from voicegw.kinds import KINDS
from voicegw.problems import Loc, Problem, dotted, listed, nearest, told
from voicegw.tables import DEMO, SECTIONS, Config, Key, Server

__all__ = ["Config", "ConfigError", "load", "schema"]

SEGMENT = re.compile(r"[A-Za-z0-9._~-]{16,}")
IN_PATHS = frozenset({("telnyx", "token_env"), ("retell", "secret_env")})
"""Secrets that are a part of an address: what they may hold, and which these are."""
MAKE_KEY = "add a key first: `voicegw keys new NAME` makes one and prints the lines for this file"
SECRET_PART = "must hold 16 or more letters, digits or . _ ~ -, since it is a part of an address"
POSE = "without it anybody could pose as the platform"
EARLY = (
    'is 0, so words leave at once and turns.on_failure = "status" comes too late: '
    'let the words wait (0.5, or "off"), or set on_failure = "speak"'
)

MUST: Mapping[str, str] = {
    **problems.MUST,
    NAME: "must be a name of up to 100 letters, digits and _ . : / @ -, beginning with a letter or digit",
    VARIABLE: "must be the name of an environment variable, not a secret itself",
    HASH: 'must be "sha256:" and 64 lower-case hex digits, as `voicegw keys new NAME` prints it',
    HOST: "must be a host name in lower case, without scheme or port",
    ORIGIN: 'must be an origin such as "https://app.example.com", in lower case and without a path',
    LANGUAGE: 'must be a language tag such as "en" or "pt-BR"',
    TARGET: 'must be "module:name"',
    HEADER: "must be the name of an HTTP header",
    LINE: "must be one line of plain ASCII",
    PHRASE: "must not be blank",
    ATTRIBUTE: 'must be the name of an attribute such as "speechModel"',
}
"""What a value must be, by the pattern that it did not match or the type of pydantic's error."""


def load(
    path: str | Path | None = None,
    environ: Mapping[str, str] = os.environ,
    *,
    server: Mapping[str, Any] | None = None,
) -> Config:
    """The configuration in a file, or the demo's without one. `server` wins over the file's [server].

    Raises `ConfigError` with one line per problem: file, key, and what is wrong with it.
    """
    source = "voicegw" if path is None else str(path)
    folder = Path() if path is None else Path(path).parent
    data: dict[str, Any] = dict(DEMO) if path is None else _read(Path(path))
    if server and isinstance(data.setdefault("server", {}), dict):
        data["server"] = {**data["server"], **server}
    try:
        config = Config.model_validate(data, context={"folder": folder})
    except ValidationError as error:
        raise _refusal(source, [_problem(details) for details in error.errors()]) from None
    config._folder = folder
    config._source = source
    config._demo = path is None
    config._secrets = {name: environ[name] for _, name in _variables(config) if name in environ}
    found = [*_at_odds(config), *_unset(config), *_twice(config)]
    if found:
        raise _refusal(source, found)
    return config


def schema() -> dict[str, Any]:
    """The JSON schema of the file, with a description of every key."""
    return Config.model_json_schema()


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: is not UTF-8 text") from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: is not TOML: {error}") from None


def _refusal(source: str, found: list[Problem]) -> ConfigError:
    return ConfigError("\n".join(f"{source}: {dotted(loc)}: {what}" for loc, what in found))


def _problem(details: ErrorDetails) -> Problem:
    """What pydantic found, as key and words of ours. It puts an agent's kind and "[key]" into the path."""
    raw = tuple(part for part in details["loc"] if part != "[key]")
    in_agent = len(raw) > 2 and raw[0] == "agents"
    loc = (*raw[:2], *raw[3:]) if in_agent else raw
    match details["type"]:
        case "extra_forbidden":
            return loc, told(details, _table(raw[:-1]).model_fields)
        case "union_tag_not_found":
            return (*loc, "kind"), f"is missing; it must be one of {listed(KINDS)}"
        case "union_tag_invalid":
            return (*loc, "kind"), f"must be one of {listed(KINDS)}"
        case _:
            return loc, told(details, must=MUST)


def _table(loc: Loc) -> type[Table]:
    """The table at a place where pydantic met an unknown key."""
    match loc:
        case ("agents", _, kind):
            return KINDS[str(kind)]
        case ("agents", _, _, "ack"):
            return Ack
        case ("keys", _):
            return Key
        case (section,):
            return SECTIONS[str(section)]
        case _:
            return Config


def _variables(config: Config) -> Iterator[tuple[Loc, str]]:
    """The environment variables that the file names, and where it does."""
    for name, key in config.keys.items():
        if key.env:
            yield ("keys", name, "env"), key.env
    for name, agent in config.agents.items():
        for entry, variable in agent.variables:
            yield ("agents", name, entry), variable
    for name, platform in config.platforms.items():
        for entry, variable in platform.variables:
            yield (name, entry), variable


def _unset(config: Config) -> Iterator[Problem]:
    """Variables without a value that a header can carry."""
    for loc, variable in _variables(config):
        value = config._secrets.get(variable)
        if value is None:
            yield loc, f"the environment variable {variable} is not set"
        elif not VISIBLE.fullmatch(value):
            yield loc, f"the environment variable {variable} is empty or holds spaces or other odd characters"
        elif loc in IN_PATHS and not SEGMENT.fullmatch(value):
            yield loc, f"the environment variable {variable} {SECRET_PART}"


def _twice(config: Config) -> Iterator[Problem]:
    """Two names for one secret: nobody could tell who calls."""
    first: dict[bytes, str] = {}
    for name, key in config.keys.items():
        known = config.digest(key)
        if known is not None and first.setdefault(known, name) != name:
            yield ("keys", name), f"has the same secret as keys.{first[known]}"


def _at_odds(config: Config) -> Iterator[Problem]:
    """Keys that are fine alone and wrong together."""
    if not config.agents:
        yield ("agents",), 'there is no agent: add a table such as [agents.desk] with kind = "scripted"'
    if not config.keys:
        yield from _open_doors(config.server)
    for name, key in config.keys.items():
        for model in key.models or ():
            if model not in config.agents:
                yield ("keys", name, "models"), f'there is no agent "{model}"{nearest(model, config.agents)}'
    for name, agent in config.agents.items():
        for other in agent.fallback or ():
            if other == name:
                yield ("agents", name, "fallback"), "an agent cannot be its own fallback"
            elif other not in config.agents:
                yield (
                    ("agents", name, "fallback"),
                    f'there is no agent "{other}"{nearest(other, config.agents)}',
                )
        if agent.tries > 1 and not agent.repeatable:
            yield ("agents", name, "tries"), "needs repeatable = true: else nothing may be asked twice"
    if config.turns.on_failure == "status":
        for name, agent in config.agents.items():
            if agent.ack.after == 0:
                yield ("agents", name, "ack", "after"), EARLY
    yield from _calls_at_odds(config)


def _calls_at_odds(config: Config) -> Iterator[Problem]:
    """The same for the platforms' calls."""
    server, twilio = config.server, config.twilio
    for name, platform in config.platforms.items():
        agent = platform.agent
        if agent is not None and agent not in config.agents:
            yield (name, "agent"), f'there is no agent "{agent}"{nearest(agent, config.agents)}'
        if not platform.proven and not guard.loopback(server.host):
            yield (name, platform.proof[0]), f"is missing, and {server.host} can be reached by others; {POSE}"
    if twilio is not None and twilio.proven and server.public_url is None:
        yield ("server", "public_url"), "is missing; Twilio's calls come to it and are signed for it"


def _open_doors(server: Server) -> Iterator[Problem]:
    """Without keys, strangers must stay outside."""
    if not guard.loopback(server.host):
        yield ("server", "host"), f"{server.host} can be reached by others; {MAKE_KEY}"
    if "*" in server.origins:
        yield ("server", "origins"), f'"*" lets every web page in; list the origins, or {MAKE_KEY}'
