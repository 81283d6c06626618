"""The floor: every call that is open on a websocket, and who may open one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress

from starlette.types import Message, Receive, Scope, Send

from voicegw.asgi.context import RequestContext
from voicegw.calls.codec import CallCodec, CallStarted
from voicegw.calls.endpoint import CallEndpoint
from voicegw.calls.profile import CallProfile
from voicegw.calls.session import LEAVE, POLICY, CallSession, farewell
from voicegw.conversations.call_id import CallIdentity
from voicegw.conversations.engine import TurnEngine
from voicegw.errors import (
    Forbidden,
    NotFound,
    RequestError,
    ServiceUnavailable,
    TooManyRequests,
    VoicegwError,
)
from voicegw.wire import openai

log = logging.getLogger("voicegw.error")

SETUP = 10.0
"""Seconds after which a socket that did not say which call it is is closed."""
MAX_LEAVING = 50
"""Such calls at a time; further ones are refused before the upgrade."""
UNEXPECTED = 1011
"""The close code for what went wrong here."""


class CallServer:
    """Serves the websocket calls of all desks, as one ASGI application: the first desk that a path fits."""

    def __init__(
        self, engine: TurnEngine, endpoints: Mapping[str, CallEndpoint], *, max_calls: int = 500
    ) -> None:
        self.engine = engine
        self.endpoints = endpoints
        self.paths = {path: desk for desk in endpoints.values() for path in desk.paths or (desk.name,)}
        self.max_calls = max_calls
        self.sessions: dict[str, set[CallSession]] = {name: set() for name in endpoints}
        self.leaving = 0

    def has_room(self, platform: str) -> bool:
        """Is there room for one more call? Sockets that did not yet say which call they are do not count."""
        calls = {name: sum(talk.call is not None for talk in talks) for name, talks in self.sessions.items()}
        most = self.endpoints[platform].max_calls
        return sum(calls.values()) < self.max_calls and (most is None or calls[platform] < most)

    def call_ended(self, platform: str, call: str) -> None:
        """The platform says that this call is over: forget it."""
        self.engine.dispatcher.calls.end(self._id(self.endpoints[platform].profile, call))

    def close_all(self) -> None:
        """Close every socket, once what is to be said there was sent."""
        for conversations in self.sessions.values():
            for conversation in conversations:
                conversation.hang_up(conversation.codec.close_code)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            desk = self._desk(scope["path"])
            call = desk.authenticate(scope)
            route = desk.profile_for(scope)
            if self.leaving >= MAX_LEAVING or sum(map(len, self.sessions.values())) >= 2 * self.max_calls:
                raise TooManyRequests("Too many sockets are open.", retry_after=1.0)
            if self.engine.dispatcher.draining:
                raise ServiceUnavailable("The gateway is shutting down.", retry_after=1.0)
            room = call is None or self._place(desk, route, call)
            if desk.refuses_before_upgrade and not room:
                raise TooManyRequests("No room.", retry_after=1.0)
        except RequestError as failure:
            visit: RequestContext = scope["voicegw"]
            self.engine.turn_log.refusal(failure, visit.id, visit.client)
            return await refuse(failure, send)
        except Exception:
            log.exception("a call could not be let in")
            return await refuse(VoicegwError(), send)
        await receive()  # the platform's wish to connect
        await send(desk.accept_message(scope))
        codec = desk.codec(call, route)
        if room:
            return await self._serve(desk, route, codec, call, receive, send)
        await self._turn_away(route, codec, receive, send)

    def _desk(self, path: str) -> CallEndpoint:
        desk = self.paths.get(path.split("/")[1]) if path.startswith("/") else None
        if desk is None:
            raise NotFound("No calls are taken here.")
        return desk

    def _place(self, desk: CallEndpoint, route: CallProfile, call: str) -> bool:
        """Is there room for this call, or does its new socket only take the place of another?"""
        return self.has_room(desk.name) or self.engine.dispatcher.calls.is_open(self._id(route, call))

    def _id(self, route: CallProfile, call: str) -> str:
        return CallIdentity(call, True, {}).call(route.key.name, route.agent.name)

    async def _serve(
        self,
        desk: CallEndpoint,
        route: CallProfile,
        codec: CallCodec,
        call: str | None,
        receive: Receive,
        send: Send,
    ) -> None:
        async def send_frame(frame: str) -> None:
            await send({"type": "websocket.send", "text": frame})

        def name(call: str) -> str:
            return self._id(route, call)

        def admit(opened: CallStarted) -> RequestError | None:
            if not desk.accepts(opened):
                return Forbidden("The call does not show its ticket.")
            return (
                None
                if self._place(desk, route, opened.call)
                else TooManyRequests("No room.", retry_after=1.0)
            )

        talk = CallSession(self.engine, route, codec, send_frame, name, admit)
        self.sessions[desk.name].add(talk)
        self.engine.turn_log.metrics.calls_open.labels(desk.name).inc()
        talk.start(call)
        writer = asyncio.ensure_future(write(talk, send))
        setup = talk.loop.call_later(SETUP, nameless, talk)
        try:
            await read(talk, receive)
        finally:
            setup.cancel()
            self.sessions[desk.name].discard(talk)
            self.engine.turn_log.metrics.calls_open.labels(desk.name).dec()
            talk.end()
            writer.cancel()
            with suppress(asyncio.CancelledError):
                await writer

    async def _turn_away(self, route: CallProfile, codec: CallCodec, receive: Receive, send: Send) -> None:
        """No room: say so in the platform's way, and let it hang up."""
        busy = route.agent.phrases_in(route.language).busy
        self.leaving += 1
        try:
            with suppress(Exception):
                for frame in farewell(codec, busy).splitlines():
                    await send({"type": "websocket.send", "text": frame.decode()})
                async with asyncio.timeout(LEAVE):
                    await until_gone(receive)
            with suppress(Exception):
                await send({"type": "websocket.close", "code": 1000})
        finally:
            self.leaving -= 1


def nameless(talk: CallSession) -> None:
    """It did not say in time which call it is."""
    if talk.call is None:
        talk.hang_up(POLICY)


async def read(talk: CallSession, receive: Receive) -> None:
    """Take frames until the socket is gone. A mistake of ours ends the call, not the gateway."""
    while (message := await receive())["type"] != "websocket.disconnect":
        text, data = message.get("text"), message.get("bytes")
        try:
            talk.receive(text if text is not None else data or b"")
        except Exception:
            log.exception("a frame of a call could not be dealt with")
            talk.hang_up(UNEXPECTED)
        await talk.send_queue.room()


async def write(talk: CallSession, send: Send) -> None:
    """Send frames until the call is to be closed; a socket that is gone is the reader's business."""
    with suppress(OSError):  # uvicorn's ClientDisconnected is one
        try:
            code = await talk.write()
        except OSError:
            raise
        except Exception:
            log.exception("the words of a call could not be sent")
            code = UNEXPECTED
        await send({"type": "websocket.close", "code": code})


async def until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "websocket.disconnect":
        pass


async def refuse(failure: VoicegwError, send: Send) -> None:
    """Refuse the upgrade, with a status and a reason."""
    body = openai.error_body(failure)
    headers: Sequence[tuple[bytes, bytes]] = ((b"content-type", b"application/json"),)
    start: Message = {"type": "websocket.http.response.start", "status": failure.status, "headers": headers}
    await send(start)
    await send({"type": "websocket.http.response.body", "body": body})
