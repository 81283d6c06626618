"""The description of one platform's websocket endpoint, which `voicegw.calls.server` serves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from starlette.types import Message, Scope

from voicegw.calls.codec import CallCodec, CallStarted
from voicegw.calls.profile import CallProfile


@dataclass(frozen=True, slots=True)
class CallEndpoint:
    """The websocket endpoint of one platform: its paths, its proof of origin, its codec and its limits."""

    name: str
    """The platform's name in logs, metrics and `CallServer.has_capacity`."""
    profile: CallProfile
    """How its calls are served."""
    authenticate: Callable[[Scope], str | None]
    """Called before the upgrade. Raises `RequestError`; returns the call's id if the path names it."""
    make_codec: Callable[[str | None, CallProfile], CallCodec]
    """Makes the codec of one socket from the result of `authenticate` and the profile."""
    accepts: Callable[[CallStarted], bool] = lambda started: True
    """Is the call genuine, by its first frame? A call that is not is closed with 1008."""
    max_calls: int | None = None
    """Calls of this endpoint at the same time; None for the limit of the server alone."""
    choose_profile: Callable[[Scope], CallProfile] | None = None
    """Returns the profile of one socket and raises `RequestError`; None if all have `profile`."""
    path_prefixes: tuple[str, ...] = ()
    """First path segments that lead here; () for the endpoint's name."""
    subprotocol: str | None = None
    """The websocket subprotocol that the server accepts if a client offers it."""
    refuses_before_upgrade: bool = False
    """Without capacity: True answers the handshake with 429, False accepts it and says so in a frame."""

    def profile_for(self, scope: Scope) -> CallProfile:
        """Return the profile of one socket. Raises `RequestError` as `choose_profile` does."""
        return self.profile if self.choose_profile is None else self.choose_profile(scope)

    def accept_message(self, scope: Scope) -> Message:
        """Return the ASGI message that accepts the handshake, with the subprotocol if it was offered."""
        offered = self.subprotocol is not None and self.subprotocol in scope.get("subprotocols", ())
        return {"type": "websocket.accept", **({"subprotocol": self.subprotocol} if offered else {})}
