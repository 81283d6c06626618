"""Where the calls of one platform arrive."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from starlette.types import Message, Scope

from voicegw.calls.codec import CallCodec, CallStarted
from voicegw.calls.profile import CallProfile


@dataclass(frozen=True, slots=True)
class CallEndpoint:
    """Where one platform's calls arrive.

    `admit` is asked before the upgrade and raises `RequestError`; it gives the platform's id of the call where the
    path tells it. `codec` makes the codec of one socket. `believe` judges what a call says of itself when
    it opens. `most` bounds the calls of this platform, None for the floor's bound alone. `choose` gives the
    route of one socket where that is not `route`, and raises as `admit` does. `paths` are the first parts of
    paths that lead here, the desk's name if there are none; `protocol` is the subprotocol that clients may
    ask for. `strict`: a call for which there is no room is refused before the upgrade, instead of being told.
    """

    name: str
    profile: CallProfile
    authenticate: Callable[[Scope], str | None]
    codec: Callable[[str | None, CallProfile], CallCodec]
    accepts: Callable[[CallStarted], bool] = lambda opened: True
    max_calls: int | None = None
    choose_profile: Callable[[Scope], CallProfile] | None = None
    paths: tuple[str, ...] = ()
    subprotocol: str | None = None
    refuses_before_upgrade: bool = False

    def profile_for(self, scope: Scope) -> CallProfile:
        """The route of one socket."""
        return self.profile if self.choose_profile is None else self.choose_profile(scope)

    def accept_message(self, scope: Scope) -> Message:
        """What accepts the upgrade."""
        asked = self.subprotocol is not None and self.subprotocol in scope.get("subprotocols", ())
        return {"type": "websocket.accept", **({"subprotocol": self.subprotocol} if asked else {})}
