"""The ASGI application of all calls on websockets: handshakes, limits and the sessions of open calls.

It knows no platform: each has a `voicegw.calls.endpoint.CallEndpoint`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress

from starlette.types import Message, Receive, Scope, Send

from voicegw.asgi.context import RequestContext
from voicegw.calls.codec import CallCodec, CallStarted
from voicegw.calls.endpoint import CallEndpoint
from voicegw.calls.path_secret import NO_CALLS_HERE
from voicegw.calls.profile import CallProfile
from voicegw.calls.session import (
    HANG_UP_TIMEOUT,
    NORMAL_CLOSURE,
    POLICY_VIOLATION,
    CallSession,
    encode_hang_up,
)
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

SETUP_TIMEOUT = 10.0
"""Seconds after which a socket that did not identify its call is closed with 1008."""
MAX_REJECTED_OPEN = 50
"""Rejected calls at the same time that get the busy phrase in frames; further handshakes get status 429."""
NO_CAPACITY = "The gateway has no capacity for another call."
INTERNAL_ERROR = 1011
"""The websocket close code for an exception in the gateway."""


class CallServer:
    """Serves the websocket calls of all platforms; the first path segment chooses the endpoint."""

    def __init__(
        self, engine: TurnEngine, endpoints: Mapping[str, CallEndpoint], *, max_calls: int = 500
    ) -> None:
        """Serve `endpoints`, by platform, with at most `max_calls` calls at the same time in this process."""
        self.engine = engine  # the dispatcher, the rate limiter and the turn log of all calls
        self.endpoints = endpoints  # by platform
        self.endpoints_by_prefix = {
            prefix: endpoint
            for endpoint in endpoints.values()
            for prefix in endpoint.path_prefixes or (endpoint.name,)
        }
        self.max_calls = max_calls  # of all platforms together, in this process
        self.sessions: dict[str, set[CallSession]] = {name: set() for name in endpoints}  # the open ones
        self.rejected_open = 0  # see MAX_REJECTED_OPEN

    def has_capacity(self, platform: str) -> bool:
        """Return whether there is capacity for one more call of this platform.

        Sockets that did not identify their call yet do not count. Raises `KeyError` for an unknown platform.
        """
        calls = {
            name: sum(session.call is not None for session in sessions)
            for name, sessions in self.sessions.items()
        }
        max_calls = self.endpoints[platform].max_calls
        return sum(calls.values()) < self.max_calls and (max_calls is None or calls[platform] < max_calls)

    def call_ended(self, platform: str, call: str) -> None:
        """End a call that the platform's webhook reported as over: stop its turn, forget its transcript.

        `call` is the platform's id of the call; nothing happens if it is unknown. Raises `KeyError` for an
        unknown platform.
        """
        self.engine.dispatcher.calls.end(self._internal_id(self.endpoints[platform].profile, call))

    def close_all(self) -> None:
        """Close every socket with its platform's close code, after its current turn was sent."""
        for sessions in self.sessions.values():
            for session in sessions:
                session.hang_up(session.codec.close_code)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one websocket connection; answer a refused handshake with an HTTP status."""
        try:
            endpoint = self._find_endpoint(scope["path"])
            call = endpoint.authenticate(scope)
            profile = endpoint.profile_for(scope)
            if (
                self.rejected_open >= MAX_REJECTED_OPEN
                or sum(map(len, self.sessions.values())) >= 2 * self.max_calls
            ):
                raise TooManyRequests("Too many sockets are open.", retry_after=1.0)
            if self.engine.dispatcher.is_draining:
                raise ServiceUnavailable("The gateway is shutting down.", retry_after=1.0)
            can_accept = call is None or self._can_accept(endpoint, profile, call)
            if endpoint.refuses_before_upgrade and not can_accept:
                raise TooManyRequests(NO_CAPACITY, retry_after=1.0)
        except RequestError as failure:
            context: RequestContext = scope["voicegw"]
            self.engine.turn_log.record_refusal(failure, context.id, context.client)
            return await refuse_upgrade(failure, send)
        except Exception:
            log.exception("the handshake of a call failed")
            return await refuse_upgrade(VoicegwError(), send)
        await receive()  # websocket.connect
        await send(endpoint.accept_message(scope))
        codec = endpoint.make_codec(call, profile)
        if can_accept:
            return await self._serve(endpoint, profile, codec, call, receive, send)
        await self._reject(profile, codec, receive, send)

    def _find_endpoint(self, path: str) -> CallEndpoint:
        endpoint = self.endpoints_by_prefix.get(path.split("/")[1]) if path.startswith("/") else None
        if endpoint is None:
            raise NotFound(NO_CALLS_HERE)
        return endpoint

    def _can_accept(self, endpoint: CallEndpoint, profile: CallProfile, call: str) -> bool:
        """Is there capacity for this call, or does its new socket only replace an older one?"""
        return self.has_capacity(endpoint.name) or self.engine.dispatcher.calls.is_open(
            self._internal_id(profile, call)
        )

    def _internal_id(self, profile: CallProfile, call: str) -> str:
        return CallIdentity(call, True, {}).call_id(profile.key.name, profile.agent.name)

    async def _serve(
        self,
        endpoint: CallEndpoint,
        profile: CallProfile,
        codec: CallCodec,
        call: str | None,
        receive: Receive,
        send: Send,
    ) -> None:
        async def send_frame(frame: str) -> None:
            await send({"type": "websocket.send", "text": frame})

        def internal_id(call: str) -> str:
            return self._internal_id(profile, call)

        def refusal_for(started: CallStarted) -> RequestError | None:
            if not endpoint.accepts(started):
                return Forbidden("The call has no valid ticket.")
            if not self._can_accept(endpoint, profile, started.call_id):
                return TooManyRequests(NO_CAPACITY, retry_after=1.0)
            return None

        session = CallSession(self.engine, profile, codec, send_frame, internal_id, refusal_for)
        self.sessions[endpoint.name].add(session)
        self.engine.turn_log.metrics.calls_open.labels(endpoint.name).inc()
        session.start(call)
        writer = asyncio.ensure_future(write_frames(session, send))
        setup_timer = session.loop.call_later(SETUP_TIMEOUT, close_unless_identified, session)
        try:
            await read_frames(session, receive)
        finally:
            setup_timer.cancel()
            self.sessions[endpoint.name].discard(session)
            self.engine.turn_log.metrics.calls_open.labels(endpoint.name).dec()
            session.close()
            writer.cancel()
            with suppress(asyncio.CancelledError):
                await writer

    async def _reject(self, profile: CallProfile, codec: CallCodec, receive: Receive, send: Send) -> None:
        """Say in the platform's frames that the gateway is busy, and let the platform hang up."""
        busy = profile.agent.phrases_in(profile.language).busy
        self.rejected_open += 1
        try:
            with suppress(Exception):
                for frame in b"".join(encode_hang_up(codec, busy)).splitlines():
                    await send({"type": "websocket.send", "text": frame.decode()})
                async with asyncio.timeout(HANG_UP_TIMEOUT):
                    await wait_for_disconnect(receive)
            with suppress(Exception):
                await send({"type": "websocket.close", "code": NORMAL_CLOSURE})
        finally:
            self.rejected_open -= 1


def close_unless_identified(session: CallSession) -> None:
    """Close a session whose call was not identified within `SETUP_TIMEOUT`, and that was not refused."""
    if session.call is None and not session.ignores_frames:
        session.hang_up(POLICY_VIOLATION)


async def read_frames(session: CallSession, receive: Receive) -> None:
    """Pass frames to the session until the socket is closed; an exception closes this socket with 1011."""
    while (message := await receive())["type"] != "websocket.disconnect":
        text, data = message.get("text"), message.get("bytes")
        try:
            session.receive(text if text is not None else data or b"")
        except Exception:
            log.exception("a frame of a call could not be processed")
            session.hang_up(INTERNAL_ERROR)
        await session.send_queue.wait_for_space()


async def write_frames(session: CallSession, send: Send) -> None:
    """Send frames until the session closes the socket; the reader notices a socket that is lost."""
    with suppress(OSError):  # uvicorn's ClientDisconnected is one
        try:
            code = await session.write()
        except OSError:
            raise
        except Exception:
            log.exception("the frames of a call could not be sent")
            code = INTERNAL_ERROR
        await send({"type": "websocket.close", "code": code})


async def wait_for_disconnect(receive: Receive) -> None:
    """Drop frames until the socket is closed."""
    while (await receive())["type"] != "websocket.disconnect":
        pass


async def refuse_upgrade(failure: VoicegwError, send: Send) -> None:
    """Answer the handshake with the failure's status and OpenAI's error body.

    Source: the ASGI extension "websocket.http.response" (Websocket Denial Response).
    """
    body = openai.encode_error(failure)
    headers: Sequence[tuple[bytes, bytes]] = ((b"content-type", b"application/json"),)
    start: Message = {"type": "websocket.http.response.start", "status": failure.status, "headers": headers}
    await send(start)
    await send({"type": "websocket.http.response.body", "body": body})
