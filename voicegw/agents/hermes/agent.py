"""The Hermes agent: each turn is a run that can be stopped, or a chat completion, on Hermes' API server.

A stop request ends a run and its tool within milliseconds. A chat completion has no stop request: the agent
closes its connection, and the server notices at its next event, which a long silent tool delays. Nobody on
a call can approve a tool's action: the agent denies it in a run, and a chat completion never executes it.

Each turn sends the whole conversation as the caller heard it, so no message has to say what was cut. The
header that continues a session on the server (`X-Hermes-Session-Id`) is never sent: with it, the server uses
its own record, which has every word that was generated. The turns of a call share only the name of a session:
its place in the server's lists and, for chat completions, the working folder of its tools. Tools run on the
server's machine, the same one for all calls unless Hermes is configured otherwise.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from dataclasses import dataclass
from http import HTTPStatus
from ssl import SSLContext
from typing import Any, Literal

from voicegw.agents.client.http_errors import collect_secrets
from voicegw.agents.client.json_api import JsonApi
from voicegw.agents.hermes import protocol
from voicegw.agents.session_pool import SessionPool
from voicegw.errors import AgentError, AgentProtocolError, AgentTimeout
from voicegw.events import Event, Finish, Message, Turn
from voicegw.wire.sse import SseParser

STOP_TIMEOUT = 2.0
"""Seconds that stopping a run may take."""
STOP_ATTEMPTS, STOP_INTERVAL = 4, 0.05
"""How many stop requests a run gets, and the seconds after each, until the server no longer knows the run."""
WARM_UP_TIMEOUT = 60.0
"""Seconds that the discarded turn at the start may take."""
CONNECTIONS_PER_TURN = 2
"""Connections that a turn needs: one for its run, one to stop it."""


@dataclass(slots=True)
class HermesSession:
    """The session that the turns of a call share on the server. `name` is its name, "" for none."""

    name: str

    def rename_after(self, turn: Turn) -> None:
        """Use a new session from the next turn on: the stopped `turn` may still run in this one."""
        self.name = f"{turn.call}-{turn.id}"


class HermesAgent:
    """An agent behind Hermes' API server at `url`. Closing a reply stops its run or closes its connection.

    `mode` selects runs or chat completions. `model` is the model or route of a turn that names none of
    `models`; None uses the server's own. With `warm_up`, `warm()` includes a discarded turn, because the
    first answer of a server takes seconds. `connect_timeout` is in seconds. `idempotent`: a turn may be sent
    twice without harm. At most `max_sessions` calls are open.
    """

    def __init__(
        self,
        url: str,
        *,
        key: str | None = None,
        mode: Literal["runs", "chat"] = "runs",
        model: str | None = None,
        warm_up: bool = True,
        ssl: SSLContext | None = None,
        connect_timeout: float = 5.0,
        idempotent: bool = False,
        max_sessions: int = 1000,
    ) -> None:
        headers = {"authorization": f"Bearer {key}"} if key else {}
        base_url = url.rstrip("/").removesuffix("/v1")
        self._api = JsonApi(base_url, headers, ssl=ssl, connect_timeout=connect_timeout)
        self._api.secrets += collect_secrets((key,))
        self._reply = self._run if mode == "runs" else self._chat
        self._model = model
        self._idempotent = idempotent
        self._warm_up = warm_up
        self._sessions = SessionPool(_open_session, _close_session, max_sessions=max_sessions)
        # The models that a turn can ask for by name; `warm()` loads them.
        self.models: list[str] = []

    async def reply(self, turn: Turn) -> AsyncGenerator[Event, None]:
        """Send the conversation, and yield the events of the answer. Closing the generator stops it.

        Raises `AgentBusy` when `max_sessions` are in use or the server is busy, `AgentRejected`,
        `AgentUnavailable`, `AgentTimeout` or `AgentProtocolError` for a server that cannot be used, and
        `AgentError` for a run that fails.
        """
        async with self._sessions.acquire(turn) as session, aclosing(self._reply(turn, session)) as events:
            async for event in events:
                yield event

    async def warm(self, call: str | None = None) -> None:
        """Open connections; with None as `call`, also load the models and run the discarded turn.

        Raises `AgentError` when the server cannot be reached or refuses, `AgentTimeout` when the discarded
        turn has no text within `WARM_UP_TIMEOUT` seconds.
        """
        if call is None:
            models = await self._api.request_json("GET", "/v1/models")
            self.models[:] = protocol.parse_models(models, self._api.url_for("/v1/models"))
            if self._warm_up:
                await self._run_warm_up_turn()
        await self._api.client.prewarm(CONNECTIONS_PER_TURN)

    async def call_ended(self, call: str) -> None:
        """Forget the session of the call. The server keeps its record."""
        await self._sessions.call_ended(call)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._sessions.aclose()
        await self._api.client.aclose()

    async def _run(self, turn: Turn, session: HermesSession) -> AsyncGenerator[Event, None]:
        """Start a run and yield its events; stop it when the generator closes before its end."""
        decoder = protocol.HermesRunDecoder()
        # A separate task: a cancelled turn must still learn the id of the run that it started.
        started = asyncio.create_task(self._start_run(turn, session))
        try:
            path = f"{await asyncio.shield(started)}/events"
            async with aclosing(self._stream("GET", path, None, decoder)) as events:
                async for event in events:
                    yield event
        finally:
            if not decoder.done and not await self._stop_run(started):
                session.rename_after(turn)

    async def _start_run(self, turn: Turn, session: HermesSession) -> str:
        """Start a run and return its path."""
        body = protocol.run_request(turn, session.name, self._model_for(turn))
        answer = await self._api.request_json("POST", "/v1/runs", body, idempotent=self._idempotent)
        return f"/v1/runs/{protocol.parse_run_id(answer, self._api.url_for('/v1/runs'))}"

    async def _stop_run(self, started: asyncio.Task[str]) -> bool:
        """Stop a run, and return whether it has ended in time. A tool may take a second to end."""
        with suppress(AgentError, TimeoutError):
            async with asyncio.timeout(STOP_TIMEOUT):
                path = f"{await started}/stop"
                for _ in range(STOP_ATTEMPTS):
                    with suppress(AgentError):  # a failing server may accept the next attempt
                        unknown = (HTTPStatus.NOT_FOUND,)
                        if (
                            await self._api.request_json(
                                "POST", path, {}, allow_status=unknown, idempotent=True
                            )
                            is None
                        ):
                            return True
                    await asyncio.sleep(STOP_INTERVAL)
        return False

    async def _chat(self, turn: Turn, session: HermesSession) -> AsyncGenerator[Event, None]:
        """Request a chat completion and yield its events; close the connection when the generator closes."""
        decoder = protocol.HermesChatDecoder()
        body = protocol.chat_request(turn, session.name or turn.id, self._model_for(turn))
        try:
            async with aclosing(self._stream("POST", "/v1/chat/completions", body, decoder)) as events:
                async for event in events:
                    yield event
        finally:
            if not decoder.done:
                session.rename_after(turn)
        for event in decoder.finish():
            if event != Finish():
                yield event

    async def _stream(
        self,
        method: str,
        path: str,
        body: Any,
        decoder: protocol.HermesRunDecoder | protocol.HermesChatDecoder,
    ) -> AsyncGenerator[Event, None]:
        """Send a request and yield the events of its stream to the end."""
        parser = SseParser()
        async with self._api.request(method, path, body, idempotent=self._idempotent) as response:
            await self._api.check_event_stream(response, path)
            async for data in response:
                for sse in parser.feed(data):
                    for event in decoder.feed(sse):
                        if isinstance(event, protocol.ApprovalRequest):
                            await self._deny(path.removesuffix("/events"))
                        else:
                            yield event
                if decoder.done:
                    response.discard_rest()
                    return
            raise AgentProtocolError(f"{self._api.url_for(path)} ended in the middle of an answer")

    async def _deny(self, run_path: str) -> None:
        """Deny an action, unless another client decided first."""
        decided = (HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT)
        await self._api.request_json(
            "POST", f"{run_path}/approval", {"choice": protocol.DENY}, allow_status=decided, idempotent=True
        )

    async def _run_warm_up_turn(self) -> None:
        """Run a turn, and stop it at its first text."""
        turn = Turn("warm-up", (Message("user", "Say OK."),))
        try:
            async with (
                asyncio.timeout(WARM_UP_TIMEOUT),
                aclosing(self._reply(turn, HermesSession("voicegw-warm-up"))) as events,
            ):
                async for event in events:
                    if type(event) is str:
                        break
        except TimeoutError:
            where = self._api.url_for("/v1")
            raise AgentTimeout(f"{where} sent no text within {WARM_UP_TIMEOUT:g} s") from None

    def _model_for(self, turn: Turn) -> str | None:
        return turn.model if turn.model in self.models else self._model


async def _open_session(call: str | None) -> HermesSession:
    return HermesSession(call or "")


async def _close_session(session: HermesSession, call_ended: bool) -> None:
    """Do nothing: the server keeps its sessions."""
