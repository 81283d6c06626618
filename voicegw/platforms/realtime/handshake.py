"""Authenticates the handshakes of realtime clients by their API key, and chooses the agent that they name.

Source: OpenAI's documentation of the Realtime API over websockets: the parameter `model`, and the
subprotocols of clients in browsers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qs

from starlette.types import Scope

from voicegw.calls.path_secret import NO_CALLS_HERE
from voicegw.calls.profile import CallProfile
from voicegw.conversations.call_id import CALL_HEADER, CALL_HEADER_ALIASES, resolve_call_id
from voicegw.errors import BadRequest, NotFound
from voicegw.security.authenticator import Authenticator
from voicegw.security.keys import ApiKey
from voicegw.turns.dialects import DIALECTS
from voicegw.turns.served_agent import ServedAgent

PATHS = frozenset({"/v1/realtime", "/realtime"})
SUBPROTOCOL = "realtime"
KEY_SUBPROTOCOL = "openai-insecure-api-key."
"""The prefix of a subprotocol that holds the API key, for clients that cannot send headers."""


@dataclass(frozen=True, slots=True)
class RealtimeHandshake:
    """Accepts clients with an API key, and connects each with the agent that it names."""

    authenticator: Authenticator
    """Checks the API key of a handshake."""
    resolve_agent: Callable[[str, ApiKey], ServedAgent]
    """Returns the agent for the name of a model and a key; raises `ModelNotFound`."""
    language: str | None = None
    """The language of the calls; None for that of the agent."""
    call_headers: Sequence[str] = ()
    """Further headers that may hold the id of the call, in lower case."""

    def authenticate(self, scope: Scope) -> str:
        """Return the id of the call that the client names, or a new one.

        Raises `Unauthorized`, `Forbidden` or `TooManyRequests` as the authenticator does, `NotFound` for
        another path, and `BadRequest` for an invalid id.
        """
        if scope["path"] not in PATHS:
            raise NotFound(NO_CALLS_HERE)
        self._api_key(scope)
        call_id = _query_parameter(scope, "call_id")
        header = ((CALL_HEADER.encode(), call_id.encode()),) if call_id else ()
        return resolve_call_id([*header, *scope["headers"]], {}, header_names=self.call_headers).name

    def choose_profile(self, scope: Scope) -> CallProfile:
        """Return how this client is served. Raises what `authenticate` raises, and `ModelNotFound`."""
        key = self._api_key(scope)
        agent = self.resolve_agent(_query_parameter(scope, "model"), key)
        dialect = agent.dialect if key.dialect is None else DIALECTS[key.dialect]
        spoken = agent if dialect.filters_speech else agent.without_speech_filters
        language = self.language or agent.language
        metadata = self._metadata(scope)
        return CallProfile(key, spoken, language, dialect=dialect, metadata=metadata, is_named=bool(metadata))

    def _metadata(self, scope: Scope) -> dict[str, str]:
        """Return the call's id as the client wrote it, {} if it named no call."""
        headers = dict(scope["headers"])
        ids = (
            headers.get(name.encode(), b"").strip()
            for name in (CALL_HEADER, *self.call_headers, *CALL_HEADER_ALIASES)
        )
        call_id = next(filter(None, ids), b"").decode("latin-1") or _query_parameter(scope, "call_id")
        return {"call_id": call_id} if call_id else {}

    def _api_key(self, scope: Scope) -> ApiKey:
        return self.authenticator.authenticate([*scope["headers"], *_key_headers(scope)])


def _query_parameter(scope: Scope, name: str) -> str:
    """Return the last value of a query parameter, "" if it is missing. Raises `BadRequest` for over 100."""
    try:
        found = parse_qs(scope["query_string"].decode("latin-1"), max_num_fields=100)
    except ValueError:
        raise BadRequest("The address has too many parameters.") from None
    return str(found.get(name, [""])[-1])


def _key_headers(scope: Scope) -> Iterator[tuple[bytes, bytes]]:
    """Yield the API keys among the subprotocols as authorization headers."""
    for offered in scope.get("subprotocols", ()):
        if offered.startswith(KEY_SUBPROTOCOL):
            key = offered.removeprefix(KEY_SUBPROTOCOL).encode("latin-1", "replace")
            yield b"authorization", b"Bearer " + key
