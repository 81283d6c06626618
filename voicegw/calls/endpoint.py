"""Where the calls of one platform arrive."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from starlette.types import Message, Scope

from voicegw.calls.codec import CallCodec, Opened
from voicegw.calls.profile import Route


@dataclass(frozen=True, slots=True)
class Desk:
    """Where one platform's calls arrive.

    `admit` is asked before the upgrade and raises `Refused`; it gives the platform's id of the call where the
    path tells it. `codec` makes the codec of one socket. `believe` judges what a call says of itself when
    it opens. `most` bounds the calls of this platform, None for the floor's bound alone. `choose` gives the
    route of one socket where that is not `route`, and raises as `admit` does. `paths` are the first parts of
    paths that lead here, the desk's name if there are none; `protocol` is the subprotocol that clients may
    ask for. `strict`: a call for which there is no room is refused before the upgrade, instead of being told.
    """

    name: str
    route: Route
    admit: Callable[[Scope], str | None]
    codec: Callable[[str | None, Route], CallCodec]
    believe: Callable[[Opened], bool] = lambda opened: True
    most: int | None = None
    choose: Callable[[Scope], Route] | None = None
    paths: tuple[str, ...] = ()
    protocol: str | None = None
    strict: bool = False

    def routed(self, scope: Scope) -> Route:
        """The route of one socket."""
        return self.route if self.choose is None else self.choose(scope)

    def accepted(self, scope: Scope) -> Message:
        """What accepts the upgrade."""
        asked = self.protocol is not None and self.protocol in scope.get("subprotocols", ())
        return {"type": "websocket.accept", **({"subprotocol": self.protocol} if asked else {})}
