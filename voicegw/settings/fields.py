"""The types of values in the configuration file, from which the sections are made."""

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

NAME = r"^[A-Za-z0-9][A-Za-z0-9_.:/@-]{0,99}$"
VARIABLE = r"^[A-Za-z_][A-Za-z0-9_]*$"
HASH = r"^sha256:[0-9a-f]{64}$"
HOST = r"^(\[[0-9a-f:.]+\]|[a-z0-9._-]+)$"
ORIGIN = r"^(\*|[a-z][a-z0-9+.-]*://[^/?#@\s]+)$"
LANGUAGE = r"^[a-z]{2,3}(-[A-Za-z0-9]+)*$"
TARGET = r"^\w+(\.\w+)*:\w+(\.\w+)*$"
HEADER = r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$"
LINE = r"^[ -~]*$"
PHRASE = r"\S"
ATTRIBUTE = r"^[A-Za-z][A-Za-z0-9]*$"
VISIBLE = re.compile(r"[!-~]+")
TAG = re.compile(r"[A-Za-z][A-Za-z0-9_.:-]*")
MAX_WORD_LENGTH = 60


def _file(value: object, info: ValidationInfo) -> Path:
    if not isinstance(value, str):
        raise ValueError("must be the path of a file")
    path: Path = (info.context or {}).get("folder", Path()) / value
    if not os.path.isfile(path):  # unlike Path.is_file, false also in a folder without permission
        raise ValueError(f"there is no file {path}")
    return path


def _seconds_or_off(value: object) -> object:
    if isinstance(value, str) and value != "off":
        raise ValueError('must be a number of seconds or "off"')
    return None if value == "off" else value


def _network(value: object) -> addresses.Network:
    if isinstance(value, str):
        try:
            return ip_network(value, strict=False)
        except ValueError:
            pass
    raise ValueError('must be an address or a network such as "10.0.0.0/8"')


def not_empty(values: tuple[str, ...]) -> tuple[str, ...]:
    """Return the values. Raises `ValueError` if there is none."""
    if not values:
        raise ValueError("must not be empty")
    return values


def _url(value: str) -> str:
    try:
        parts = urlsplit(value)
        # Only visible characters: urlsplit drops line breaks, a request line would not.
        known = (
            VISIBLE.fullmatch(value)
            and parts.scheme in ("http", "https")
            and parts.hostname
            and parts.port != 0
        )
    except ValueError:
        known = False
    if not known:
        raise ValueError("must be a URL that begins with http:// or https:// and a host")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ValueError("must not hold a user, a password, a query or a fragment; a key belongs in key_env")
    return value


def _public(value: str) -> str:
    try:
        parts = urlsplit(value)
        known = VISIBLE.fullmatch(value) and parts.scheme == "https" and parts.hostname and parts.port != 0
    except ValueError:
        known = False
    if not known or "@" in parts.netloc or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ValueError('must be an address such as "https://voice.example.com", without a path')
    return value.rstrip("/")


def optional(description: str) -> Any:
    """Return the field of a key that may be left out.

    TOML has no null, so the schema shows none either.
    """

    def without_null(shown: dict[str, Any]) -> None:
        del shown["default"]
        shown.update(next(kind for kind in shown.pop("anyOf") if kind != {"type": "null"}))

    return Field(default=None, description=description, json_schema_extra=without_null)


def _unframed(name: str) -> str:
    if name.lower() in ("host", "connection", "upgrade", "transfer-encoding", "content-length"):
        raise ValueError("is set by the gateway, since it frames the request")
    return name


def _tag(name: str) -> str:
    if not TAG.fullmatch(name):
        raise ValueError('must be the name of a tag such as "break", without brackets')
    return name.lower()


def _word(word: str) -> str:
    if not word.strip():
        raise ValueError("must not be blank")
    if len(word) > MAX_WORD_LENGTH:
        raise ValueError(f"must be {MAX_WORD_LENGTH} characters or fewer")
    return word


Name: TypeAlias = Annotated[str, Field(pattern=NAME)]
Variable: TypeAlias = Annotated[str, Field(pattern=VARIABLE)]
File: TypeAlias = Annotated[Path, BeforeValidator(_file), WithJsonSchema({"type": "string"})]
Proxy: TypeAlias = Annotated[addresses.Network, PlainValidator(_network), WithJsonSchema({"type": "string"})]
Phrase: TypeAlias = Annotated[str, Field(pattern=PHRASE)]
Phrases: TypeAlias = Annotated[tuple[Phrase, ...], Strict(False), AfterValidator(not_empty)]
Language: TypeAlias = Annotated[str, Field(pattern=LANGUAGE)]
Tags: TypeAlias = Annotated[tuple[Annotated[str, AfterValidator(_tag)], ...], Strict(False)]
Word: TypeAlias = Annotated[str, AfterValidator(_word)]
Names: TypeAlias = Annotated[tuple[Name, ...], Strict(False)]
SecondsOrOff: TypeAlias = Annotated[
    Annotated[float, Field(ge=0)] | None,
    BeforeValidator(_seconds_or_off),
    WithJsonSchema({"anyOf": [{"type": "number", "minimum": 0}, {"const": "off"}]}),
]
Url: TypeAlias = Annotated[str, AfterValidator(_url)]
PublicUrl: TypeAlias = Annotated[str, AfterValidator(_public)]
Header: TypeAlias = Annotated[str, Field(pattern=HEADER), AfterValidator(_unframed)]
Dialect: TypeAlias = Literal["voice", "elevenlabs", "vapi", "chat"]
