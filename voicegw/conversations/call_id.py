"""The call that a request belongs to. Only an explicit id counts. Pure.

A request that names its call belongs to it. Every other request is anonymous, even if two are identical:
two callers who both say "Hello?" to the same agent must never share anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha1
from itertools import chain
from secrets import token_hex
from typing import Any
from uuid import UUID

from voicegw.errors import BadRequest

CALL_HEADER = "x-voicegw-call"
"""The gateway's own header for the call id."""
CALL_HEADER_ALIASES = (
    "x-openhands-serverconversation-id",
    "x-hermes-session-id",
    "x-conversation-id",
    "x-openwebui-chat-id",
)
"""Headers in which clients of other gateways name their conversation."""
CALL_ID_KEYS = (
    "call_id",
    "conversation_id",
    "elevenlabs_extra_body.session_id",
    "extra_metadata.session_id",
    "chat_id",
)
"""The keys that may hold the call id, in this order, unless the configuration names others.

`KEY` is a key of each of `EXTRA_OBJECTS`, `OBJECT.KEY` of this object only. `metadata.session_id` is missing:
libraries that trace requests put the id of a whole program run there.
"""
EXTRA_OBJECTS = ("elevenlabs_extra_body", "extra_metadata", "metadata")
"""The objects of a request body into which platforms put the values that an operator mapped."""
MAX_ID_LENGTH = 512
"""Limit of a client's call id in characters; a longer one is refused."""
ISSUED_ID = re.compile(r"call_([0-9a-f]{32})")
"""An id as the gateway issues it; it is kept as it is."""
NAMESPACE = UUID("6f0f2e8c-6a5e-5d0e-9d3c-3d1c7b0a9e11")
"""The namespace of all derived ids. The value is arbitrary, but a change would split running calls."""


@dataclass(frozen=True, slots=True)
class CallIdentity:
    """The name of a call, as one request gives it."""

    name: str
    """The id that a client may send back to reach the same call again. Form: "call_" and 32 hex digits."""
    is_explicit: bool
    """False if the request named no call; `name` is then new and random."""
    echoed_headers: Mapping[str, str]
    """The client's own header for the call, repeated in the response. Empty if it used none."""

    def call_id(self, tenant: str, agent: str) -> str:
        """Return the internal id: a key cannot reach another key's calls, nor an agent another agent's."""
        id = derive_id(f"{tenant}\n{agent}\n{self.name}")
        return f"{id[:8]}-{id[8:12]}-{id[12:16]}-{id[16:20]}-{id[20:]}"


def derive_id(name: str) -> str:
    """Return the UUID of a name in `NAMESPACE` as 32 hex digits. A `UUID` object costs ten times as much.

    Source: RFC 9562, section 5.5 (version 5).
    """
    digest = bytearray(sha1(NAMESPACE.bytes + name.encode(), usedforsecurity=False).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x50
    digest[8] = digest[8] & 0x3F | 0x80
    return digest.hex()


def resolve_call_id(
    headers: Iterable[tuple[bytes, bytes]],
    extra: Mapping[str, Any],
    *,
    header_names: Sequence[str] = (),
    keys: Sequence[str] = CALL_ID_KEYS,
) -> CallIdentity:
    """Return the call that a request names, or a new anonymous one.

    The first of these sources counts: the gateway's header, the configured `header_names`, the aliases,
    Vapi's `call.id`, a string or number under one of `keys` (see `CALL_ID_KEYS`). `extra` holds the body's
    fields that are not OpenAI's.

    Raise `BadRequest` for an id that is longer than `MAX_ID_LENGTH` or has control characters.
    """
    own_headers = _ids_in_headers(headers, (CALL_HEADER, *header_names, *CALL_HEADER_ALIASES))
    for source, id, echo in chain(own_headers, _ids_in_body(extra, keys)):
        if len(id) > MAX_ID_LENGTH or not id.isprintable():
            raise BadRequest(
                f"The call id in '{source}' must be 1 to {MAX_ID_LENGTH} printable characters.", param=source
            )
        issued = ISSUED_ID.fullmatch(id)
        name = id if issued else "call_" + derive_id(f"{source}\n{id}")
        return CallIdentity(name, True, {echo: id} if echo and id.isascii() else {})
    return CallIdentity(f"call_{token_hex(16)}", False, {})


def _ids_in_headers(
    headers: Iterable[tuple[bytes, bytes]], names: Sequence[str]
) -> Iterator[tuple[str, str, str]]:
    """Yield (source, id, header to repeat in the response or ""), in the order of `names`."""
    sent = dict(headers)
    for name in names:
        if id := sent.get(name.encode(), b"").strip():
            yield name, id.decode("latin-1"), "" if name == CALL_HEADER else name


def _ids_in_body(extra: Mapping[str, Any], keys: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """Yield (source, id, "") for Vapi's `call.id`, then for the `keys` of each object."""
    for name, names in _body_sources(tuple(keys)):
        values = extra.get(name)
        if not isinstance(values, dict):
            continue
        for key in names:
            id = values.get(key)
            if isinstance(id, (str, int)) and not isinstance(id, bool) and id != "":
                yield f"{name}.{key}", str(id), ""


@lru_cache(maxsize=16)
def _body_sources(keys: tuple[str, ...]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Return the objects of a body with the keys in them that may name the call, in their order."""
    pairs = [key.rpartition(".")[::2] for key in keys]
    names = dict.fromkeys((*EXTRA_OBJECTS, *(name for name, _ in pairs if name)))
    sources = ((name, tuple(key for owner, key in pairs if owner in ("", name))) for name in names)
    return ("call", ("id",)), *sources
