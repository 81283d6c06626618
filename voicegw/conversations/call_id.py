"""Which call is this? Only an explicit id has power.

A request that names its call belongs to it; every other one is anonymous, however alike two may be: two
callers who both say "Hello?" to the same agent must never share anything. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from secrets import token_hex
from typing import Any
from uuid import UUID, uuid5

from voicegw.errors import BadRequest

OURS = "x-voicegw-call"
ALIASES = (
    "x-openhands-serverconversation-id",
    "x-hermes-session-id",
    "x-conversation-id",
    "x-openwebui-chat-id",
)
"""Headers in which clients of other gateways name their conversation."""
KEYS = ("call_id", "conversation_id", "session_id", "chat_id")
PLACES = ("elevenlabs_extra_body", "extra_metadata", "metadata")
"""Where platforms put what the operator mapped, and under which names we look there."""
MAX_ID_LENGTH = 512
ISSUED = re.compile(r"call_([0-9a-f]{32})")
NAMESPACE = UUID("6f0f2e8c-6a5e-5d0e-9d3c-3d1c7b0a9e11")
"""The namespace of all our ids; any constant would do, as long as it stays."""


@dataclass(frozen=True, slots=True)
class CallIdentity:
    """`name` is what the client may send back to reach the same call again; `echo` repeats its own header.

    `explicit` is false for a request that named no call: `name` is a fresh one for it.
    """

    name: str
    explicit: bool
    echo: Mapping[str, str]

    def call(self, tenant: str, agent: str) -> str:
        """The call itself: no key reaches another key's calls, and no agent another's."""
        return str(uuid5(NAMESPACE, f"{tenant}\n{agent}\n{self.name}"))


def resolve_call_id(
    headers: Iterable[tuple[bytes, bytes]],
    extra: Mapping[str, Any],
    *,
    names: Sequence[str] = (),
    keys: Sequence[str] = KEYS,
) -> CallIdentity:
    """The call that a request names, first of: our header, the configured ones (`names`), the aliases,
    Vapi's `call.id`, a scalar under one of `keys` in the body's extras.

    Raises `BadRequest` for an id that nobody means: too long, or with control characters.
    """
    for source, id, echo in (*_named(headers, (OURS, *names, *ALIASES)), *_mapped(extra, keys)):
        if len(id) > MAX_ID_LENGTH or not id.isprintable():
            raise BadRequest(
                f"The call id in '{source}' must be 1 to {MAX_ID_LENGTH} printable characters.", param=source
            )
        issued = ISSUED.fullmatch(id)
        name = id if issued else "call_" + uuid5(NAMESPACE, f"{source}\n{id}").hex
        return CallIdentity(name, True, {echo: id} if echo and id.isascii() else {})
    return CallIdentity(f"call_{token_hex(16)}", False, {})


def _named(headers: Iterable[tuple[bytes, bytes]], names: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """What the headers say, in the order of `names`: source, id, and the header to repeat in the answer."""
    sent = dict(headers)
    for name in names:
        if id := sent.get(name.encode(), b"").strip():
            yield name, id.decode("latin-1"), "" if name == OURS else name


def _mapped(extra: Mapping[str, Any], keys: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """What the body says: Vapi's call, then what operators mapped into the places that platforms offer."""
    places = [("call", ("id",)), *((place, keys) for place in PLACES)]
    for place, wanted in places:
        found = extra.get(place)
        if not isinstance(found, dict):
            continue
        for key in wanted:
            id = found.get(key)
            if isinstance(id, (str, int)) and not isinstance(id, bool) and id != "":
                yield f"{place}.{key}", str(id), ""
