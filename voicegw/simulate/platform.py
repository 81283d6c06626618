"""A caller: the platform's side of a call on a websocket, without any I/O."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from voicegw.simulate.checks import Check
from voicegw.simulate.recording import Heard
from voicegw.wire.json import loads

Frame: TypeAlias = str | bytes


@dataclass(frozen=True, slots=True)
class Ways:
    """How a platform differs. `without` are the kinds of steps that it does not know: say, press, silent.

    `mutes`: it stops playing by itself, so that late words do no harm. `renews`: what it repeats is a request
    of its own, and answered anew. `opening`: seconds before its caller speaks; what comes by then is a
    greeting.
    """

    without: frozenset[str] = frozenset()
    mutes: bool = False
    renews: bool = False
    opening: float = 0.0


KEYLESS = frozenset({"press"})


class Caller(Protocol):
    """One platform's side of one call, over however many sockets.

    It writes the frames that the platform would send and reads those that it gets. It is made with the
    `Script` and with the secret that proves that it is the platform, "" if there is none. Questions are
    numbered from 0, in the order of `ask` and `press`.
    """

    name: str
    checks: Sequence[Check]
    every: float | None
    """Seconds between the platform's pings; None if it sends none."""
    ways: Ways

    def address(self, url: str) -> str:
        """The whole address of the socket, where `url` is what an operator would enter at the platform."""
        ...

    def headers(self, address: str, *, forged: bool = False) -> Mapping[str, str]:
        """The headers of the handshake; where `forged`, with a false proof."""
        ...

    def open(self, *, again: bool) -> Sequence[Frame]:
        """What the platform sends first on a new socket; `again` if the one before was lost.

        Then it also repeats what was not answered.
        """
        ...

    def partial(self, words: str) -> Sequence[Frame]:
        """Words that may still change; () if the platform tells of none."""
        ...

    def ask(self, said: str | None) -> Sequence[Frame]:
        """The caller said this, or, with None, nothing for a while: the next question."""
        ...

    def press(self, digits: str) -> Sequence[Frame]:
        """The caller pressed these keys, as the next question; () if the platform tells of none."""
        ...

    def repeat(self) -> Sequence[Frame]:
        """The last question once more, as the platform does without being asked; () if it never does."""
        ...

    def interrupt(self, heard: str) -> Sequence[Frame]:
        """The caller spoke over the agent after hearing this much of its answer."""
        ...

    def nonsense(self) -> Sequence[Frame]:
        """Frames that make no sense, and that a gateway must survive."""
        ...

    def ping(self) -> Sequence[Frame]:
        """A ping; () if the platform sends none."""
        ...

    def leave(self) -> Sequence[Frame]:
        """The last frames before the caller hangs up."""
        ...

    def hear(self, frame: Frame) -> Sequence[Heard]:
        """What a frame of the gateway's means. Never raises."""
        ...


def opened(frame: Frame) -> dict[str, Any] | str:
    """The JSON object in a text frame, or, in words, why there is none."""
    if not isinstance(frame, str):
        return f"a binary frame of {len(frame)} bytes"
    try:
        data = loads(frame.encode())
    except ValueError:
        return f"no JSON: {shown(frame)}"
    return data if isinstance(data, dict) else f"JSON, but no object: {shown(frame)}"


def written(**fields: Any) -> str:
    """A text frame with this JSON object."""
    return json.dumps(fields, ensure_ascii=False)


def shown(value: Any) -> str:
    """A value of a gateway's, shortly."""
    if isinstance(value, str):
        return repr(value[:40])
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "an object"
    return "null" if value is None else str(value).lower()
