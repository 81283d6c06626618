"""The shape of the configuration file: its tables, their keys, and what a key may hold.

Pure description: reading a file, and telling what is wrong with it, is `voicegw.config.load`'s.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    Field,
    Strict,
    model_validator,
)

from voicegw.conversations.call_id import KEYS
from voicegw.settings.fields import (
    HASH,
    HOST,
    ORIGIN,
    Dialect,
    File,
    Header,
    Language,
    Names,
    Proxy,
    PublicUrl,
    Tags,
    Variable,
    Word,
    not_empty,
    optional,
)
from voicegw.settings.section import Section
from voicegw.speech.options import MAX_HELD_CHARS, MAX_HOLD_SECONDS


class ServerSettings(Section):
    """Where the gateway listens, and whom it believes."""

    host: str = Field(default="127.0.0.1", min_length=1, description="Address to listen on.")
    port: int = Field(default=8080, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    workers: int = Field(default=1, ge=1, le=1024, description="Processes that share the port.")
    public_url: PublicUrl | None = optional(
        "Address by which platforms reach the gateway, such as `https://voice.example.com`."
    )
    tls_cert: File | None = optional("Certificate chain, a PEM file; needs `tls_key`.")
    tls_key: File | None = optional("Private key of the certificate, a PEM file.")
    trusted_proxies: Annotated[tuple[Proxy, ...], Strict(False)] = Field(
        default=(), description="Addresses or networks of proxies whose X-Forwarded-For is believed."
    )
    origins: Annotated[tuple[Annotated[str, Field(pattern=ORIGIN)], ...], Strict(False)] = Field(
        default=(),
        description='Web origins whose pages may call the gateway (CORS); `"*"` for all, with keys only.',
    )
    hosts: Annotated[tuple[Annotated[str, Field(pattern=HOST)], ...], Strict(False)] = Field(
        default=(), description="Host names accepted without keys, besides those of this machine."
    )
    shutdown_grace: float = Field(default=20.0, ge=0, description="Seconds that running turns get at shutdown.")

    @model_validator(mode="after")
    def _paired(self) -> ServerSettings:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key belong together; one of them is missing")
        return self


class LimitSettings(Section):
    """What is too much."""

    max_body_bytes: int = Field(default=1_048_576, ge=1, description="Largest request body, in bytes.")
    max_header_bytes: int = Field(default=65_536, ge=1024, description="Largest head of a request, in bytes.")
    max_messages: int = Field(default=2000, ge=1, description="Most messages in one request.")
    max_json_depth: int = Field(default=100, ge=8, description="Deepest nesting of a request's JSON.")
    concurrent_turns: int = Field(
        default=1000, ge=1, description="Most turns at the same time, all workers together."
    )
    concurrent_calls: int = Field(
        default=500, ge=1, description="Most calls on websockets at the same time, all workers together."
    )
    requests_per_minute: int = Field(
        default=0, ge=0, description="Most turns a minute for each key; 0 for no limit."
    )
    send_timeout: float = Field(
        default=30.0,
        ge=0,
        description="Seconds after which a client that reads nothing of what waits for it is hung up on; "
        "0 for never.",
    )
    busy: Literal["status", "speak"] = Field(
        default="status",
        description='Past a limit, answer with status 429 (`"status"`) or a spoken sentence (`"speak"`).',
    )


class KeySettings(Section):
    """A key that opens the gateway."""

    hash: Annotated[str, Field(pattern=HASH)] | None = optional(
        "SHA-256 of the key, as `voicegw keys new NAME` prints it. Either this or `env`."
    )
    env: Variable | None = optional("Environment variable that holds the key itself.")
    models: Annotated[Names, AfterValidator(not_empty)] | None = optional(
        "Names of the agents that the key may use; all if left out."
    )
    dialect: Dialect | None = optional("How this key's clients are spoken to, whatever the agent.")
    requests_per_minute: Annotated[int, Field(ge=0)] | None = optional(
        "This key's own limit instead of that of `[limits]`; 0 for none."
    )

    @model_validator(mode="after")
    def _either(self) -> KeySettings:
        if (self.hash is None) == (self.env is None):
            raise ValueError("needs exactly one of hash and env")
        return self


class TurnSettings(Section):
    """How a turn goes."""

    unknown_model: Literal["default", "reject"] = Field(
        default="default",
        description="A model name that is no agent's goes to the first agent, or is refused with 404.",
    )
    on_failure: Literal["speak", "status"] = Field(
        default="speak",
        description="An agent that fails before its first word: a spoken apology, or an HTTP status; "
        "then not a byte leaves before the agent's first word, also none of ours.",
    )
    disconnect_grace: float = Field(
        default=0.0,
        ge=0,
        description="Seconds that a turn goes on without a listener; another may join it.",
    )
    replay_window: float = Field(
        default=10.0,
        ge=0,
        description="Seconds in which a turn that nobody heard to its end is replayed if asked again.",
    )
    stop_timeout: float = Field(default=0.25, ge=0, description="Seconds that closing an agent is waited for.")


class CallSettings(Section):
    """Which requests belong to one call, and how long a call is remembered."""

    headers: Annotated[tuple[Header, ...], Strict(False)] = Field(
        default=(),
        description="Further request headers that name the call, besides those known out of the box.",
    )
    keys: Annotated[tuple[str, ...], Strict(False)] = Field(
        default=KEYS, description="Keys that name the call in what platforms pass on from the operator."
    )
    idle: float = Field(
        default=1800.0, gt=0, description="Seconds without a turn after which a call is forgotten."
    )
    max_calls: int = Field(default=10_000, ge=1, description="Most calls that are remembered, in each worker.")


class SpeechSettings(Section):
    """How an agent's text is made speakable."""

    max_held_chars: int = Field(
        default=MAX_HELD_CHARS,
        ge=32,
        le=1000,
        description="Most characters that are held back while undecided.",
    )
    max_hold_seconds: float = Field(
        default=MAX_HOLD_SECONDS,
        gt=0,
        description="Seconds of the agent's silence after which what is held back is spoken.",
    )
    tables: Literal["headers", "cells"] = Field(
        default="headers",
        description='Rows of tables as `"headers"`: "Name: Ada, Age: 36.", or as `"cells"`: "Ada, 36."',
    )
    urls: Literal["domain", "drop"] = Field(
        default="domain", description='Speak the domain of an address (`"domain"`), or nothing (`"drop"`).'
    )
    code: dict[Language, Annotated[str, AfterValidator(str.strip)]] = Field(
        default={},
        description='Own sentences for blocks of code by language, instead of ours; `""` for silence.',
    )
    keep_tags: Tags = Field(
        default=(),
        description='Tags that the platform understands, such as `"break"`; passed on as they are.',
    )
    silent_tags: Tags = Field(
        default=(), description="Further tags whose content is never spoken, besides `think` and its like."
    )
    words: dict[Word, str] = Field(
        default={}, description='Words that are spoken differently, such as `SQL = "sequel"`.'
    )

    @model_validator(mode="after")
    def _apart(self) -> SpeechSettings:
        if both := sorted({*self.keep_tags} & {*self.silent_tags}):
            raise ValueError(f'keep_tags and silent_tags both name "{both[0]}"')
        return self


class TraceSettings(Section):
    """What is told about each turn."""

    log: bool = Field(default=True, description="One log line per turn, without a word of what was said.")
    errors: bool = Field(
        default=False,
        description="In that line, also what agents said about their failures, with tracebacks; "
        "this may hold callers' words.",
    )
    comment: bool = Field(
        default=False, description="The turn's latencies as a comment at the end of its stream."
    )
