"""The counter: where programs call that hold a key of the house, on OpenAI's Realtime protocol."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qs

from starlette.types import Scope

from voicegw.calls.profile import CallProfile
from voicegw.conversations.call_id import ALIASES, OURS, resolve_call_id
from voicegw.errors import BadRequest, NotFound
from voicegw.security.authenticator import Authenticator
from voicegw.security.keys import ApiKey
from voicegw.turns.dialects import DIALECTS
from voicegw.turns.served_agent import ServedAgent

PATHS = frozenset({"/v1/realtime", "/realtime"})
PROTOCOL = "realtime"
KEY = "openai-insecure-api-key."
"""How clients show their key that cannot send headers: as one more subprotocol."""


@dataclass(frozen=True, slots=True)
class RealtimeHandshake:
    """Lets in whoever shows a key, and connects them with the agent that they ask for.

    `find` gives the line for a model's name and a key, and raises `ModelNotFound`; `names` are further headers
    that name a call, `language` is that of the call where the agent's table has none.
    """

    door: Authenticator
    find: Callable[[str, ApiKey], ServedAgent]
    language: str | None = None
    names: Sequence[str] = ()

    def admit(self, scope: Scope) -> str:
        """The call that the client names, or a fresh one. Raises `RequestError`."""
        if scope["path"] not in PATHS:
            raise NotFound("No calls are taken here.")
        self._key(scope)
        asked = _asked(scope, "call_id")
        named = ((OURS.encode(), asked.encode()),) if asked else ()
        return resolve_call_id([*named, *scope["headers"]], {}, names=self.names).name

    def _facts(self, scope: Scope) -> dict[str, str]:
        """The call's id as the client wrote it."""
        sent = dict(scope["headers"])
        names = (sent.get(name.encode(), b"").strip() for name in (OURS, *self.names, *ALIASES))
        written = next(filter(None, names), b"").decode("latin-1") or _asked(scope, "call_id")
        return {"call_id": written} if written else {}

    def route(self, scope: Scope) -> CallProfile:
        """How this client is served. Raises `RequestError`."""
        key = self._key(scope)
        line = self.find(_asked(scope, "model"), key)
        dialect = line.dialect if key.dialect is None else DIALECTS[key.dialect]
        spoken = line if dialect.speech else line.for_reading
        language = self.language or line.language
        facts = self._facts(scope)
        return CallProfile(key, spoken, language, dialect=dialect, metadata=facts, is_named=bool(facts))

    def _key(self, scope: Scope) -> ApiKey:
        return self.door.authenticate([*scope["headers"], *_shown(scope)])


def _asked(scope: Scope, name: str) -> str:
    """A parameter of the address, "" if it is not there. Raises `BadRequest`."""
    try:
        found = parse_qs(scope["query_string"].decode("latin-1"), max_num_fields=100)
    except ValueError:
        raise BadRequest("The address has too many parameters.") from None
    return str(found.get(name, [""])[-1])


def _shown(scope: Scope) -> Iterator[tuple[bytes, bytes]]:
    """Keys among the subprotocols, as the headers that they stand for."""
    for offered in scope.get("subprotocols", ()):
        if offered.startswith(KEY):
            yield b"authorization", b"Bearer " + offered.removeprefix(KEY).encode("latin-1", "replace")
