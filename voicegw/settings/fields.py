"""The types of values in the configuration file, and the patterns that the values must match.

The sections are in `voicegw.settings.agent`, `.gateway` and `.platform`, and in the integrations' folders.
"""

from __future__ import annotations

import os
import re
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainValidator,
    Strict,
    ValidationInfo,
    WithJsonSchema,
)

from voicegw.security import addresses
from voicegw.speech.options import Spelling

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.:/@-]{0,99}$"
VARIABLE_PATTERN = r"^[A-Za-z_][A-Za-z0-9_]*$"
HASH_PATTERN = r"^sha256:[0-9a-f]{64}$"
HOST_PATTERN = r"^(\[[0-9a-f:.]+\]|[a-z0-9._-]+)$"
ORIGIN_PATTERN = r"^(\*|[a-z][a-z0-9+.-]*://[^/?#@\s]+)$"
LANGUAGE_PATTERN = r"^[a-z]{2,3}(-[A-Za-z0-9]+)*$"
TARGET_PATTERN = r"^\w+(\.\w+)*:\w+(\.\w+)*$"
HEADER_PATTERN = r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$"
ASCII_LINE_PATTERN = r"^[ -~]*$"
PHRASE_PATTERN = r"\S"
REGION_PATTERN = r"^[A-Z]{2}$"
ATTRIBUTE_PATTERN = r"^[A-Za-z][A-Za-z0-9]*$"
VISIBLE_ASCII = re.compile(r"[!-~]+")
"""Visible ASCII characters, which a header or a URL can carry."""
TAG_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.:-]*")
"""The name of a tag in the agent's text."""
MAX_WORD_LENGTH = 60
"""Characters of a word with its own pronunciation."""


def _resolve_file(value: object, info: ValidationInfo) -> Path:
    if not isinstance(value, str):
        raise ValueError("must be the path of a file")
    path: Path = (info.context or {}).get("folder", Path()) / value
    if not os.path.isfile(path):  # unlike Path.is_file, false also in a folder without permission
        raise ValueError(f"there is no file {path}")
    return path


def _parse_seconds_or_off(value: object) -> object:
    if isinstance(value, str) and value != "off":
        raise ValueError('must be a number of seconds or "off"')
    return None if value == "off" else value


def _parse_network(value: object) -> addresses.Network:
    if isinstance(value, str):
        try:
            return ip_network(value, strict=False)
        except ValueError:
            pass
    raise ValueError('must be an address or a network such as "10.0.0.0/8"')


def require_nonempty(values: tuple[str, ...]) -> tuple[str, ...]:
    """Return the values. Raises `ValueError` if there are none."""
    if not values:
        raise ValueError("must not be empty")
    return values


def _check_url(value: str) -> str:
    try:
        parts = urlsplit(value)
        # Only visible characters: urlsplit drops line breaks, a request line would not.
        is_valid = (
            VISIBLE_ASCII.fullmatch(value)
            and parts.scheme in ("http", "https")
            and parts.hostname
            and parts.port != 0
        )
    except ValueError:
        is_valid = False
    if not is_valid:
        raise ValueError("must be a URL that begins with http:// or https:// and a host")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ValueError("must not hold a user, a password, a query or a fragment; a key belongs in key_env")
    return value


def _check_public_url(value: str) -> str:
    try:
        parts = urlsplit(value)
        is_valid = (
            VISIBLE_ASCII.fullmatch(value) and parts.scheme == "https" and parts.hostname and parts.port != 0
        )
    except ValueError:
        is_valid = False
    if not is_valid or "@" in parts.netloc or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ValueError('must be an address such as "https://voice.example.com", without a path')
    return value.rstrip("/")


def optional(description: str) -> Any:
    """Return the field of a key that may be left out.

    TOML has no null, so the schema shows none either.
    """

    def remove_null(schema: dict[str, Any]) -> None:
        del schema["default"]
        schema.update(next(option for option in schema.pop("anyOf") if option != {"type": "null"}))

    return Field(default=None, description=description, json_schema_extra=remove_null)


def _check_header_name(name: str) -> str:
    if name.lower() in ("host", "connection", "upgrade", "transfer-encoding", "content-length"):
        raise ValueError("is set by the gateway: it delimits the request")
    return name


def _normalize_tag(name: str) -> str:
    if not TAG_NAME.fullmatch(name):
        raise ValueError('must be the name of a tag such as "break", without brackets')
    return name.lower()


def _check_word(word: str) -> str:
    if not word.strip():
        raise ValueError("must not be blank")
    if len(word) > MAX_WORD_LENGTH:
        raise ValueError(f"must be {MAX_WORD_LENGTH} characters or fewer")
    return word


Name: TypeAlias = Annotated[str, Field(pattern=NAME_PATTERN)]
Variable: TypeAlias = Annotated[str, Field(pattern=VARIABLE_PATTERN)]
File: TypeAlias = Annotated[Path, BeforeValidator(_resolve_file), WithJsonSchema({"type": "string"})]
Proxy: TypeAlias = Annotated[
    addresses.Network, PlainValidator(_parse_network), WithJsonSchema({"type": "string"})
]
Phrase: TypeAlias = Annotated[str, Field(pattern=PHRASE_PATTERN)]
Phrases: TypeAlias = Annotated[tuple[Phrase, ...], Strict(False), AfterValidator(require_nonempty)]
Language: TypeAlias = Annotated[str, Field(pattern=LANGUAGE_PATTERN)]
Languages: TypeAlias = Annotated[tuple[Language, ...], Strict(False)]
Spellings: TypeAlias = Annotated[tuple[Spelling, ...], Strict(False)]
Region: TypeAlias = Annotated[str, Field(pattern=REGION_PATTERN)]
Tags: TypeAlias = Annotated[tuple[Annotated[str, AfterValidator(_normalize_tag)], ...], Strict(False)]
Word: TypeAlias = Annotated[str, AfterValidator(_check_word)]
Names: TypeAlias = Annotated[tuple[Name, ...], Strict(False)]
SecondsOrOff: TypeAlias = Annotated[
    Annotated[float, Field(ge=0)] | None,
    BeforeValidator(_parse_seconds_or_off),
    WithJsonSchema({"anyOf": [{"type": "number", "minimum": 0}, {"const": "off"}]}),
]
Url: TypeAlias = Annotated[str, AfterValidator(_check_url)]
PublicUrl: TypeAlias = Annotated[str, AfterValidator(_check_public_url)]
Header: TypeAlias = Annotated[str, Field(pattern=HEADER_PATTERN), AfterValidator(_check_header_name)]
Dialect: TypeAlias = Literal["voice", "elevenlabs", "vapi", "chat"]
