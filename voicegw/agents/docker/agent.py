"""The docker agent by `docker agent serve api`: one session per call, and a run in it per turn.

`docker agent serve chat` is reached by `OpenAIAgent` instead.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from ssl import SSLContext
from urllib.parse import quote

from voicegw.agents.client.http_errors import CONFLICT_RETRY_DELAYS, collect_secrets, redact
from voicegw.agents.client.json_api import JsonApi
from voicegw.agents.client.response import HttpResponse
from voicegw.agents.docker.protocol import (
    NEW_SESSION,
    DockerEventDecoder,
    parse_session_id,
    parse_team,
    run_request,
)
from voicegw.agents.session_pool import SessionPool
from voicegw.agents.session_prompt import session_prompt, user_message_count
from voicegw.errors import AgentBusy, AgentError, AgentProtocolError
from voicegw.events import Turn
from voicegw.turns.streaming import EventSink, StreamingAgent, push_rest
from voicegw.wire.sse import SseParser

END_TIMEOUT = 0.5
"""Seconds that a stream gets to end after its run stopped. After its end, the session is certainly free."""
CLOSE_TIMEOUT = 2.0
"""Seconds that deleting a session may take."""


@dataclass(slots=True, eq=False)
class DockerSession:
    """A session on the server, by its `id`."""

    id: str
    # How many messages of the caller it got; None if it got none.
    user_messages_sent: int | None = None
    # Whether another turn can use it: the server did not refuse the last one.
    is_usable: bool = True


class DockerApiAgent(StreamingAgent):
    """An agent of `docker agent serve api` at `url`.

    `team` is the configuration that answers; None takes the first that the server has. `agent` is one of that
    team; None takes its default. `connect_timeout` is in seconds. `idempotent`: a turn may be sent twice
    without harm. At most `max_sessions` are open.

    Closing a reply closes its connection, which cancels the model and the tools. The next turn retries while
    the session is busy with that. If it stays busy, the turn gets a new session, which gets the whole
    conversation. The server's request that adds text to a run (`steer`) is not used: the run reads it only
    after its tools end, and the interrupted answer would continue.

    Actions that need a confirmation are rejected, and questions declined; to allow actions, configure the
    team on its server. A session is deleted when its call ends.
    """

    def __init__(
        self,
        url: str,
        *,
        key: str | None = None,
        team: str | None = None,
        agent: str | None = None,
        ssl: SSLContext | None = None,
        connect_timeout: float = 5.0,
        idempotent: bool = False,
        max_sessions: int = 1000,
    ) -> None:
        headers = {"authorization": f"Bearer {key}"} if key else {}
        self._secrets = collect_secrets((key,))
        self._api = JsonApi(url, headers, ssl=ssl, connect_timeout=connect_timeout)
        self._where = self._api.url_for("/api")
        self._team = team
        self._agent = agent
        self._idempotent = idempotent
        self._sessions = SessionPool(
            self._open, self._close, is_usable=lambda session: session.is_usable, max_sessions=max_sessions
        )

    async def stream(self, turn: Turn, sink: EventSink) -> None:
        """Send the new messages of the call, and push the events of the run. A cancellation cancels the run.

        Raises `AgentBusy` when `max_sessions` are in use or the server is busy, `AgentRejected` or
        `AgentUnavailable` for a server that cannot be used, `AgentProtocolError` for a stream that is invalid
        or breaks off, and `AgentError` for a run that fails.
        """
        async with self._sessions.acquire(turn) as session:
            try:
                async with self._start_run(session, turn) as response:
                    decoder = DockerEventDecoder(session.id, self._where)
                    if not await self._pump(response, session, decoder, sink):
                        return
                push_rest(decoder.finish(), sink)
            except AgentError as error:
                redact(error, self._secrets)
                raise

    async def _pump(
        self, response: HttpResponse, session: DockerSession, decoder: DockerEventDecoder, sink: EventSink
    ) -> bool:
        """Push the events of the run and answer its questions. Return False if the sink takes no more."""
        parser = SseParser()
        answers: list[tuple[str, dict[str, object]]] = []

        def feed(data: bytes) -> bool:
            for sse in parser.feed(data):
                for event in decoder.feed(sse):
                    if not sink.push(event):
                        answers.clear()
                        return False
                if decoder.pending_answer is not None:
                    answers.append(decoder.pending_answer)
            sink.flush()
            return not (answers or decoder.done)

        while not await response.pump(feed):
            if not (answers or decoder.done):
                return False
            for answer in answers:
                await self._answer(session, *answer)
            answers.clear()
            if decoder.done:
                await self._drain(response)
                return True
        if parser.has_partial_event:
            raise AgentProtocolError(f"{self._where} broke off in the middle of an event")
        return True

    @asynccontextmanager
    async def _start_run(self, session: DockerSession, turn: Turn) -> AsyncIterator[HttpResponse]:
        """Start a run and yield its stream. A busy session is retried, then replaced: it got nothing yet."""
        for delay in CONFLICT_RETRY_DELAYS:
            async with self._post_run(session, turn) as response:
                if response.status != HTTPStatus.CONFLICT:
                    yield response
                    return
            await asyncio.sleep(delay)
        with suppress(AgentError):
            await self._close(session, True)
        session.id, session.user_messages_sent = await self._create_session(), None
        async with self._post_run(session, turn) as response:
            if response.status == HTTPStatus.CONFLICT:
                raise AgentBusy(f"{self._where} is busy even in a new session")
            yield response

    @asynccontextmanager
    async def _post_run(self, session: DockerSession, turn: Turn) -> AsyncIterator[HttpResponse]:
        body = run_request(session_prompt(turn, session.user_messages_sent, fresh=True))
        async with AsyncExitStack() as stack:
            path = await self._run_path(session)
            request = self._api.request(
                "POST", path, body, allow_status=(HTTPStatus.CONFLICT,), idempotent=self._idempotent
            )
            try:
                response = await stack.enter_async_context(request)
            except AgentError:  # the server may have forgotten the session
                session.is_usable = False
                raise
            if response.status != HTTPStatus.CONFLICT:
                if not turn.background:
                    session.user_messages_sent = user_message_count(turn.messages)
                await self._api.check_event_stream(response, "/api")
            yield response

    async def _drain(self, response: HttpResponse) -> None:
        with suppress(TimeoutError, AgentError):
            async with asyncio.timeout(END_TIMEOUT):
                await response.pump(lambda data: True)

    async def _answer(self, session: DockerSession, action: str, body: dict[str, object]) -> None:
        path = f"{_session_path(session)}/{action}"
        await self._api.request_json("POST", path, body, idempotent=True)  # every answer is a refusal

    async def warm(self, call: str | None = None) -> None:
        """Create the session of `call`; with None, find the team. Raises `AgentError` if that fails."""
        if call is None:
            await self._find_team()
        else:
            await self._sessions.warm(call)

    async def call_ended(self, call: str) -> None:
        """Delete the session of a call."""
        await self._sessions.call_ended(call)

    async def aclose(self) -> None:
        """Close all connections. The sessions of calls stay on the server."""
        await self._sessions.aclose()
        await self._api.client.aclose()

    async def _find_team(self) -> str:
        if self._team is None:
            self._team = parse_team(await self._api.request_json("GET", "/api/agents"), self._where)
        return self._team

    async def _run_path(self, session: DockerSession) -> str:
        parts = [session.id, "agent", await self._find_team(), *([self._agent] if self._agent else [])]
        return "/api/sessions/" + "/".join(quote(part, safe="") for part in parts)

    async def _open(self, call: str | None) -> DockerSession:
        """Create a session. If this is cancelled meanwhile, delete the session again."""
        creation = asyncio.create_task(self._create_session())
        try:
            return DockerSession(await asyncio.shield(creation))
        except asyncio.CancelledError:
            with suppress(AgentError, TimeoutError):
                async with asyncio.timeout(CLOSE_TIMEOUT):
                    await self._close(DockerSession(await creation), True)
            raise

    async def _create_session(self) -> str:
        # A second session without messages does no harm.
        answer = await self._api.request_json("POST", "/api/sessions", NEW_SESSION, idempotent=True)
        return parse_session_id(answer, self._where)

    async def _close(self, session: DockerSession, call_ended: bool) -> None:
        if call_ended or not session.is_usable:
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_TIMEOUT):
                    await self._api.request_json("DELETE", _session_path(session))


def _session_path(session: DockerSession) -> str:
    return f"/api/sessions/{quote(session.id, safe='')}"
