"""The sections of the configuration file that belong to no integration: their keys, defaults and units.

Loading and checking a file is in `voicegw.config.load` and `voicegw.config.checks`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    Field,
    Strict,
    model_validator,
)

from voicegw.conversations.call_id import CALL_ID_KEYS
from voicegw.settings.fields import (
    HASH_PATTERN,
    HOST_PATTERN,
    ORIGIN_PATTERN,
    Dialect,
    File,
    Header,
    Language,
    Languages,
    Names,
    Proxy,
    PublicUrl,
    Spellings,
    Tags,
    Variable,
    Word,
    optional,
    require_nonempty,
)
from voicegw.settings.section import Section
from voicegw.speech.options import MAX_HELD_CHARS, MAX_HOLD_SECONDS


class ServerSettings(Section):
    """The section `[server]`."""

    host: str = Field(default="127.0.0.1", min_length=1, description="Address to listen on.")
    port: int = Field(default=8080, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    workers: int = Field(default=1, ge=1, le=1024, description="Number of processes that share the port.")
    public_url: PublicUrl | None = optional(
        "Address by which platforms reach the gateway, such as `https://voice.example.com`."
    )
    tls_cert: File | None = optional("Certificate chain, a PEM file; needs `tls_key`.")
    tls_key: File | None = optional("Private key of the certificate, a PEM file.")
    trusted_proxies: Annotated[tuple[Proxy, ...], Strict(False)] = Field(
        default=(), description="Addresses or networks of proxies whose X-Forwarded-For is trusted."
    )
    origins: Annotated[tuple[Annotated[str, Field(pattern=ORIGIN_PATTERN)], ...], Strict(False)] = Field(
        default=(),
        description='Web origins whose pages may call the gateway (CORS); `"*"` for all, with keys only.',
    )
    hosts: Annotated[tuple[Annotated[str, Field(pattern=HOST_PATTERN)], ...], Strict(False)] = Field(
        default=(), description="Host names accepted without keys, besides those of this machine."
    )
    shutdown_grace: float = Field(
        default=20.0, ge=0, description="Seconds that running turns get at shutdown."
    )

    @model_validator(mode="after")
    def _check_tls_pair(self) -> ServerSettings:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key belong together; one of them is missing")
        return self


class LimitSettings(Section):
    """The section `[limits]`."""

    max_body_bytes: int = Field(
        default=1_048_576, ge=1, description="Maximum size of a request body in bytes."
    )
    max_header_bytes: int = Field(
        default=65_536, ge=1024, description="Maximum size of a request's head in bytes."
    )
    max_messages: int = Field(default=2000, ge=1, description="Maximum number of messages in one request.")
    max_json_depth: int = Field(
        default=100, ge=8, description="Maximum nesting of a request's JSON, in levels."
    )
    concurrent_turns: int = Field(
        default=1000, ge=1, description="Maximum number of turns at a time, over all workers."
    )
    concurrent_calls: int = Field(
        default=500, ge=1, description="Maximum number of websocket calls at a time, over all workers."
    )
    requests_per_minute: int = Field(
        default=0, ge=0, description="Maximum number of turns a minute for each API key; 0 for no limit."
    )
    send_timeout: float = Field(
        default=30.0,
        ge=0,
        description="Seconds after which a client that does not read is disconnected; 0 for never.",
    )
    busy: Literal["status", "speak"] = Field(
        default="status",
        description='Past a limit, answer with status 429 (`"status"`) or a spoken sentence (`"speak"`).',
    )


class KeySettings(Section):
    """A section `[keys.NAME]`: one API key."""

    hash: Annotated[str, Field(pattern=HASH_PATTERN)] | None = optional(
        "SHA-256 of the key, as `voicegw keys new NAME` prints it. Either this or `env`."
    )
    env: Variable | None = optional("Environment variable that holds the key itself.")
    models: Annotated[Names, AfterValidator(require_nonempty)] | None = optional(
        "Names of the agents that the key may use; all if left out."
    )
    dialect: Dialect | None = optional(
        "Style of the stream for this key's clients; it overrides the agent's dialect."
    )
    requests_per_minute: Annotated[int, Field(ge=0)] | None = optional(
        "Maximum number of turns a minute for this key instead of that of `[limits]`; 0 for no limit."
    )
    concurrent_turns: Annotated[int, Field(ge=1)] | None = optional(
        "Maximum number of this key's turns at a time, over all workers; that of `[limits]` holds too."
    )

    @model_validator(mode="after")
    def _check_one_source(self) -> KeySettings:
        if (self.hash is None) == (self.env is None):
            raise ValueError("needs exactly one of hash and env")
        return self


class TurnSettings(Section):
    """The section `[turns]`."""

    unknown_model: Literal["default", "reject"] = Field(
        default="default",
        description="A model name without an agent: the first agent answers, or the request gets status 404.",
    )
    on_failure: Literal["speak", "status"] = Field(
        default="speak",
        description="When an agent fails before its first word: a spoken apology, or an HTTP status. "
        "With `status`, no byte is sent before the agent's first word, so there is no acknowledgement. "
        "Structured output always gets a status.",
    )
    disconnect_grace: float = Field(
        default=0.0,
        ge=0,
        description="Seconds that a turn goes on after its client disconnected; a retry may join it.",
    )
    replay_window: float = Field(
        default=10.0,
        ge=0,
        description="Seconds in which a retry replays a turn whose answer was not delivered completely.",
    )
    stop_timeout: float = Field(
        default=0.25, ge=0, description="Seconds that the gateway waits for an agent to close."
    )


class CallSettings(Section):
    """The section `[calls]`."""

    headers: Annotated[tuple[Header, ...], Strict(False)] = Field(
        default=(),
        description="Further request headers that name the call, besides the built-in ones.",
    )
    keys: Annotated[tuple[str, ...], Strict(False)] = Field(
        default=CALL_ID_KEYS,
        description="Keys of the body that name the call; `OBJECT.KEY` counts in this object only.",
    )
    idle: float = Field(
        default=1800.0, gt=0, description="Seconds without a turn after which a call is forgotten."
    )
    max_calls: int = Field(
        default=10_000, ge=1, description="Maximum number of remembered calls in each worker."
    )
    max_memory: int = Field(
        default=134_217_728,
        ge=1_000_000,
        description="Maximum bytes of the remembered calls in each worker; beyond it, or `max_calls`, those "
        "that were used least recently are forgotten.",
    )


class SpeechSettings(Section):
    """The section `[speech]`."""

    max_held_chars: int = Field(
        default=MAX_HELD_CHARS,
        ge=32,
        le=1000,
        description="Maximum number of characters that are held back while they are ambiguous.",
    )
    max_hold_seconds: float = Field(
        default=MAX_HOLD_SECONDS,
        gt=0,
        description="Seconds of the agent's silence after which held characters are spoken.",
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
        description='Sentences for code blocks by language, instead of the built-in ones; `""` for silence.',
    )
    nothing: dict[Language, Annotated[str, AfterValidator(str.strip)]] = Field(
        default={},
        description="Sentences for an answer without words, such as an emoji, by language, instead of the "
        'built-in ones; `""` for silence.',
    )
    terminal: Literal["note", "words"] = Field(
        default="note",
        description='JSON, diffs, stack traces and log lines as one sentence (`"note"`), or as their words '
        '(`"words"`).',
    )
    output: dict[Language, Annotated[str, AfterValidator(str.strip)]] = Field(
        default={},
        description='Sentences for the output of programs, with `terminal = "note"`, by language; `""` for '
        "silence.",
    )
    paths: Literal["name", "full"] = Field(
        default="name",
        description='Speak the last name of a file path of four names or more (`"name"`), or the whole path '
        '(`"full"`).',
    )
    starts_with_reasoning: bool = Field(
        default=False,
        description="The model's template opens the reasoning: text before a lone `</think>` is silent, and "
        "an answer without `</think>`, too.",
    )
    keep_tags: Tags = Field(
        default=(),
        description='Tags that the platform understands, such as `"break"`; they are passed on unchanged.',
    )
    silent_tags: Tags = Field(
        default=(),
        description="Further tags whose content is never spoken, besides reasoning tags such as `think`.",
    )
    spell: Spellings = Field(
        default=(),
        description="Kinds of written forms that become words, for voices that read digits badly: "
        '`"numbers"`, `"money"`, `"dates"`, `"times"`, `"units"`, `"phones"`, `"ordinals"`.',
    )
    spell_languages: Languages = Field(
        default=(), description="Languages in which `spell` counts; all that it knows, if there are none."
    )
    words: dict[Word, str] = Field(default={}, description='Pronunciations, such as `SQL = "sequel"`.')

    @model_validator(mode="after")
    def _check_tags(self) -> SpeechSettings:
        if both := sorted({*self.keep_tags} & {*self.silent_tags}):
            raise ValueError(f'keep_tags and silent_tags both name "{both[0]}"')
        return self


class TraceSettings(Section):
    """The section `[trace]`."""

    log: bool = Field(default=True, description="One log line per turn, without any spoken words.")
    errors: bool = Field(
        default=False,
        description="Adds agents' error messages and tracebacks to that line; they may hold callers' words.",
    )
    comment: bool = Field(
        default=False, description="Adds the turn's latencies as a comment at the end of its stream."
    )
