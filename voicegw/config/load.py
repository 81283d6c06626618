"""Loads the configuration: one TOML file, checked whole before anything starts.

Only this module and `voicegw.cli` read the environment. All problems of a file are reported
together, one line each, as `ConfigError`. Secrets stay in the environment: the file names the variable,
`load` looks it up, and no message shows a value.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from voicegw.config.agent_kinds import AGENT_SETTINGS
from voicegw.config.checks import (
    find_conflicts,
    find_duplicate_keys,
    find_named_variables,
    find_unset_variables,
)
from voicegw.config.root import DEMO, SECTIONS, Config
from voicegw.errors import ConfigError
from voicegw.settings import problems
from voicegw.settings.agent import AckSettings
from voicegw.settings.fields import (
    ASCII_LINE_PATTERN,
    ATTRIBUTE_PATTERN,
    HASH_PATTERN,
    HEADER_PATTERN,
    HOST_PATTERN,
    LANGUAGE_PATTERN,
    NAME_PATTERN,
    ORIGIN_PATTERN,
    PHRASE_PATTERN,
    REGION_PATTERN,
    TARGET_PATTERN,
    VARIABLE_PATTERN,
)
from voicegw.settings.gateway import KeySettings
from voicegw.settings.problems import Loc, Problem, describe, format_key_path, quote_names
from voicegw.settings.section import Section

__all__ = ["Config", "ConfigError", "build_schema", "load"]

REQUIREMENTS: Mapping[str, str] = {
    **problems.REQUIREMENTS,
    NAME_PATTERN: "must be a name of up to 100 letters, digits and _ . : / @ -, "
    "beginning with a letter or digit",
    VARIABLE_PATTERN: "must be the name of an environment variable, not a secret itself",
    HASH_PATTERN: 'must be "sha256:" and 64 lower-case hex digits, as `voicegw keys new NAME` prints it',
    HOST_PATTERN: "must be a host name in lower case, without scheme or port",
    ORIGIN_PATTERN: 'must be an origin such as "https://app.example.com", in lower case and without a path',
    LANGUAGE_PATTERN: 'must be a language tag such as "en" or "pt-BR"',
    TARGET_PATTERN: 'must be "module:name"',
    HEADER_PATTERN: "must be the name of an HTTP header",
    ASCII_LINE_PATTERN: "must be one line of plain ASCII",
    PHRASE_PATTERN: "must not be blank",
    REGION_PATTERN: 'must be the code of a country such as "DE"',
    ATTRIBUTE_PATTERN: 'must be the name of an attribute such as "speechModel"',
}
"""The requirement on a value, by the pattern that it does not match or the type of pydantic's error."""


def load(
    path: str | Path | None = None,
    environ: Mapping[str, str] = os.environ,
    *,
    server: Mapping[str, Any] | None = None,
) -> Config:
    """Return the configuration in a file, or the demo's without one.

    `server` overrides keys of the file's `[server]`. Raises `ConfigError` with one line for each problem:
    file, key, and the requirement.
    """
    source = "voicegw" if path is None else str(path)
    folder = Path() if path is None else Path(path).parent
    data: dict[str, Any] = dict(DEMO) if path is None else _read(Path(path))
    if server and isinstance(data.setdefault("server", {}), dict):
        data["server"] = {**data["server"], **server}
    try:
        config = Config.model_validate(data, context={"folder": folder})
    except ValidationError as error:
        raise _make_error(source, [_to_problem(details) for details in error.errors()]) from None
    config._folder = folder
    config._source = source
    config._demo = path is None
    config._secrets = {name: environ[name] for _, name in find_named_variables(config) if name in environ}
    found = [*find_conflicts(config), *find_unset_variables(config), *find_duplicate_keys(config)]
    if found:
        raise _make_error(source, found)
    return config


def build_schema() -> dict[str, Any]:
    """Return the JSON schema of the file, with a description of every key."""
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


def _make_error(source: str, found: list[Problem]) -> ConfigError:
    return ConfigError("\n".join(f"{source}: {format_key_path(loc)}: {what}" for loc, what in found))


def _to_problem(details: ErrorDetails) -> Problem:
    """Convert one of pydantic's errors to a key and a sentence.

    Pydantic puts an agent's kind and "[key]" into the path; the file has neither.
    """
    raw = tuple(part for part in details["loc"] if part != "[key]")
    in_agent = len(raw) > 2 and raw[0] == "agents"
    loc = (*raw[:2], *raw[3:]) if in_agent else raw
    match details["type"]:
        case "extra_forbidden":
            return loc, describe(details, _find_section(raw[:-1]).model_fields)
        case "union_tag_not_found":
            return (*loc, "kind"), f"is missing; it must be one of {quote_names(AGENT_SETTINGS)}"
        case "union_tag_invalid":
            return (*loc, "kind"), f"must be one of {quote_names(AGENT_SETTINGS)}"
        case _:
            return loc, describe(details, requirements=REQUIREMENTS)


def _find_section(loc: Loc) -> type[Section]:
    """Return the section in which pydantic met an unknown key."""
    match loc:
        case ("agents", _, kind):
            return AGENT_SETTINGS[str(kind)]
        case ("agents", _, _, "ack"):
            return AckSettings
        case ("keys", _):
            return KeySettings
        case (section,):
            return SECTIONS[str(section)]
        case _:
            return Config
