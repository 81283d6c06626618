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
from contextlib import suppress
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
from voicegw.turns.streaming import EventSink, StreamingAgent, push_rest
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


class HermesAgent(StreamingAgent):
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
        self._ask = self._run if mode == "runs" else self._chat
        self._model = model
        self._idempotent = idempotent
        self._warm_up = warm_up
        self._sessions = SessionPool(_open_session, _close_session, max_sessions=max_sessions)
        # The models that a turn can ask for by name; `warm()` loads them.
        self.models: list[str] = []

    async def stream(self, turn: Turn, sink: EventSink) -> None:
        """Send the conversation, and push the events of the answer. A cancellation stops it.

        Raises `AgentBusy` when `max_sessions` are in use or the server is busy, `AgentRejected`,
        `AgentUnavailable`, `AgentTimeout` or `AgentProtocolError` for a server that cannot be used, and
        `AgentError` for a run that fails.
        """
        async with self._sessions.acquire(turn) as session:
            await self._ask(turn, session, sink)

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

    async def _run(self, turn: Turn, session: HermesSession, sink: EventSink) -> None:
        """Start a run and push its events; stop it if the sink takes no more, or at a cancellation."""
        decoder = protocol.HermesRunDecoder()
        # A separate task: a cancelled turn must still learn the id of the run that it started.
        started = asyncio.create_task(self._start_run(turn, session))
        try:
            path = f"{await asyncio.shield(started)}/events"
            await self._pump("GET", path, None, decoder, sink)
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

    async def _chat(self, turn: Turn, session: HermesSession, sink: EventSink) -> None:
        """Request a chat completion and push its events; leaving before its end closes the connection."""
        decoder = protocol.HermesChatDecoder()
        body = protocol.chat_request(turn, session.name or turn.id, self._model_for(turn))
        try:
            has_ended = await self._pump("POST", "/v1/chat/completions", body, decoder, sink)
        finally:
            if not decoder.done:
                session.rename_after(turn)
        if has_ended:
            push_rest((event for event in decoder.finish() if event != Finish()), sink)

    async def _pump(
        self,
        method: str,
        path: str,
        body: Any,
        decoder: protocol.HermesRunDecoder | protocol.HermesChatDecoder,
        sink: EventSink,
    ) -> bool:
        """Send a request and push the events of its stream. Return False if the sink takes no more."""
        feed = HermesFeed(decoder, sink)
        async with self._api.request(method, path, body, idempotent=self._idempotent) as response:
            await self._api.check_event_stream(response, path)
            while not await response.pump(feed.feed) and feed.is_open:
                for _ in range(feed.take_approvals()):
                    await self._deny(path.removesuffix("/events"))
                if decoder.done:
                    response.discard_rest()
                    return True
            if not feed.is_open:
                return False
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
            async with asyncio.timeout(WARM_UP_TIMEOUT):
                await self._ask(turn, HermesSession("voicegw-warm-up"), FirstTextSink())
        except TimeoutError:
            where = self._api.url_for("/v1")
            raise AgentTimeout(f"{where} sent no text within {WARM_UP_TIMEOUT:g} s") from None

    def _model_for(self, turn: Turn) -> str | None:
        return turn.model if turn.model in self.models else self._model


class HermesFeed:
    """Decodes the bytes of one stream and pushes their events into `sink`."""

    def __init__(
        self, decoder: protocol.HermesRunDecoder | protocol.HermesChatDecoder, sink: EventSink
    ) -> None:
        self._decoder = decoder
        self._sink = sink
        self._parser = SseParser()
        # Whether the sink takes more events.
        self.is_open = True
        # How many tools wait for an approval.
        self._approvals = 0

    def feed(self, data: bytes) -> bool:
        """Push the events of `data`. Return False at the end, for an approval, or if the sink is closed."""
        for sse in self._parser.feed(data):
            for event in self._decoder.feed(sse):
                if isinstance(event, protocol.ApprovalRequest):
                    self._approvals += 1
                elif not self._sink.push(event):
                    self.is_open = False
                    return False
        self._sink.flush()
        return not (self._decoder.done or self._approvals)

    def take_approvals(self) -> int:
        """Return how many tools wait for an approval since the last call."""
        approvals, self._approvals = self._approvals, 0
        return approvals


class FirstTextSink:
    """An `EventSink` that ends a reply at its first text."""

    def push(self, event: Event) -> bool:
        return type(event) is not str

    def flush(self) -> None: ...


async def _open_session(call: str | None) -> HermesSession:
    return HermesSession(call or "")


async def _close_session(session: HermesSession, call_ended: bool) -> None:
    """Do nothing: the server keeps its sessions."""
