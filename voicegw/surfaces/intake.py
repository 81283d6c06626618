"""What comes in: a request's body, up to a limit, and the word that the client hung up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from hashlib import blake2b

from starlette.types import Message, Receive, Scope

from voicegw.errors import Refused, TooLarge
from voicegw.run import Run
from voicegw.switchboard import Switchboard


async def read_body(scope: Scope, receive: Receive, most: int) -> bytes:
    """The whole body, or `TooLarge` as soon as it is known to be."""
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit() and int(value) > most:
            raise TooLarge(f"The request body is larger than {most} bytes.")
    parts: list[bytes] = []
    size = 0
    while True:
        message: Message = await receive()
        if message["type"] == "http.disconnect":
            raise Refused("The client hung up before its request was complete.")
        part: bytes = message.get("body", b"")
        size += len(part)
        if size > most:
            raise TooLarge(f"The request body is larger than {most} bytes.")
        parts.append(part)
        if not message.get("more_body", False):
            return b"".join(parts)


def retry(scope: Scope, body: bytes) -> tuple[bytes, bool]:
    """What identifies a request that may be sent again, and whether its client says that it was."""
    headers = dict(scope["headers"])
    if key := headers.get(b"idempotency-key"):
        return b"key " + key, True
    return blake2b(body, digest_size=16).digest(), headers.get(b"x-stainless-retry-count", b"0") != b"0"


class Watch:
    """A follower that waits for one thing to be true of a run, or for the client to hang up."""

    def __init__(self, run: Run, enough: Callable[[], bool]) -> None:
        self.enough = enough
        self.future: asyncio.Future[None] = run.loop.create_future()

    def wake(self) -> None:
        if self.enough():
            self.stop()

    def stop(self) -> None:
        if not self.future.done():
            self.future.set_result(None)

    async def listen(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self.stop()


async def until(run: Run, enough: Callable[[], bool], switchboard: Switchboard, receive: Receive) -> None:
    """Start a run and wait until there is enough of it; a client that hangs up before cancels it."""
    watch = Watch(run, enough)
    run.followers.append(watch)
    ear = run.loop.create_task(watch.listen(receive))
    run.start()
    watch.wake()  # a run that is replayed tells nothing new
    try:
        await watch.future
    finally:
        ear.cancel()
        if enough():
            run.followers.remove(watch)
        else:
            switchboard.leave(run, watch)
