"""Docker's agent by the events of `docker agent serve api`: a session for each call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from ssl import SSLContext
from urllib.parse import quote

from voicegw.agents.client.http import HttpResponse
from voicegw.agents.client.http_errors import redact, secrets
from voicegw.agents.client.json_api import JsonApi
from voicegw.agents.docker.protocol import NEW, DockerEventDecoder, ask, created, served
from voicegw.agents.session_pool import SessionPool
from voicegw.agents.session_prompt import session_prompt, user_message_count
from voicegw.errors import AgentBusy, AgentError, AgentProtocolError
from voicegw.events import Event, Turn
from voicegw.wire.sse import SseParser

CONFLICT = 409
PAUSES = (0.02, 0.04, 0.08, 0.16)
"""Seconds between asking a session again that has not yet let go of its last run."""
END = 0.5
"""Seconds that a stream gets to end after its run stopped: then its session is free for sure."""
CLOSE = 2.0
"""Seconds that deleting a session may take."""


@dataclass(slots=True, eq=False)
class DockerSession:
    """A session on the server. `known`: how many words of the caller were said in it. `good`: it works."""

    id: str
    known: int | None = None
    good: bool = True


class DockerApiAgent:
    """`docker agent serve api` at `url`. `team` is the configuration that it serves (its only one, or the
    first), `agent` one of that team (its default one). `connect` is in seconds.

    Closing a reply hangs up, which cancels the model and the tools. The next turn asks again for as long as
    the session is busy with that, and gets another session, which is told everything, if it stays so. The
    server's way to speak into a run (`steer`) is not used: it waits for tools to end before it is heard,
    and the answer that the caller interrupted would go on.

    Tools that want to be confirmed are denied, questions declined; a team that should act without asking is
    configured so on its server. A session is deleted when its call is over.
    """

    def __init__(
        self,
        url: str,
        *,
        key: str | None = None,
        team: str | None = None,
        agent: str | None = None,
        ssl: SSLContext | None = None,
        connect: float = 5.0,
        max_sessions: int = 1000,
    ) -> None:
        headers = {"authorization": f"Bearer {key}"} if key else {}
        self._secrets = secrets((key,))
        self._api = JsonApi(url, headers, ssl=ssl, connect=connect)
        self._where = self._api.where("/api")
        self._team = team
        self._agent = agent
        self._sessions = SessionPool(
            self._open, self._close, good=lambda session: session.good, max_sessions=max_sessions
        )

    async def reply(self, turn: Turn) -> AsyncGenerator[Event, None]:
        """Say what is new in the session of the call, and give what is answered."""
        async with self._sessions.acquire(turn) as session:
            try:
                async with self._run(session, turn) as response:
                    splitter, decoder = SseParser(), DockerEventDecoder(session.id, self._where)
                    async for data in response:
                        for sse in splitter.feed(data):
                            for event in decoder.feed(sse):
                                yield event
                            if decoder.answer is not None:
                                await self._answer(session, *decoder.answer)
                        if decoder.over:
                            await self._end(response)
                            break
                    if splitter.held and not decoder.over:
                        raise AgentProtocolError(f"{self._where} broke off in the middle of an event")
                for event in decoder.end():
                    yield event
            except AgentError as error:
                redact(error, self._secrets)
                raise

    @asynccontextmanager
    async def _run(self, session: DockerSession, turn: Turn) -> AsyncIterator[HttpResponse]:
        """The events of a run. A busy session took nothing yet; one that stays busy is given up."""
        for pause in PAUSES:
            async with self._asked(session, turn) as response:
                if response.status != CONFLICT:
                    yield response
                    return
            await asyncio.sleep(pause)
        with suppress(AgentError):
            await self._close(session, True)
        session.id, session.known = await self._create(), None
        async with self._asked(session, turn) as response:
            if response.status == CONFLICT:
                raise AgentBusy(f"{self._where} is busy even in a new session")
            yield response

    @asynccontextmanager
    async def _asked(self, session: DockerSession, turn: Turn) -> AsyncIterator[HttpResponse]:
        body = ask(session_prompt(turn, session.known, fresh=True))
        async with AsyncExitStack() as stack:
            request = self._api.request(
                "POST", await self._path(session), body, allow_status=(CONFLICT,), retry=False
            )
            try:
                response = await stack.enter_async_context(request)
            except AgentError:  # the server may have forgotten it
                session.good = False
                raise
            if response.status != CONFLICT:
                self._api.stream(response, "/api")
                session.known = session.known if turn.background else user_message_count(turn.messages)
            yield response

    async def _end(self, response: HttpResponse) -> None:
        with suppress(TimeoutError, AgentError):
            async with asyncio.timeout(END):
                async for _ in response:
                    pass

    async def _answer(self, session: DockerSession, place: str, value: dict[str, object]) -> None:
        await self._api.call("POST", f"/api/sessions/{quote(session.id, safe='')}/{place}", value)

    async def warm(self, call: str | None = None) -> None:
        """Open the session of a call; at start, find out which team is served."""
        if call is None:
            await self._served()
        else:
            await self._sessions.warm(call)

    async def call_ended(self, call: str) -> None:
        """Delete the session of a call."""
        await self._sessions.call_ended(call)

    async def aclose(self) -> None:
        await self._sessions.aclose()
        await self._api.client.aclose()

    async def _served(self) -> str:
        if self._team is None:
            self._team = served(await self._api.call("GET", "/api/agents"), self._where)
        return self._team

    async def _path(self, session: DockerSession) -> str:
        parts = [session.id, "agent", await self._served(), *([self._agent] if self._agent else [])]
        return "/api/sessions/" + "/".join(quote(part, safe="") for part in parts)

    async def _open(self, call: str | None) -> DockerSession:
        """A session; one that comes when nobody waits for it any more is deleted again."""
        making = asyncio.create_task(self._create())
        try:
            return DockerSession(await asyncio.shield(making))
        except asyncio.CancelledError:
            with suppress(AgentError, TimeoutError):
                async with asyncio.timeout(CLOSE):
                    await self._close(DockerSession(await making), True)
            raise

    async def _create(self) -> str:
        return created(await self._api.call("POST", "/api/sessions", NEW), self._where)

    async def _close(self, session: DockerSession, gone: bool) -> None:
        if gone or not session.good:
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSE):
                    await self._api.call("DELETE", f"/api/sessions/{quote(session.id, safe='')}")
