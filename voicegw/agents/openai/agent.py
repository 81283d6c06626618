"""The agent behind any server that speaks OpenAI's chat completions.

It knows no bytes of requests and responses: `endpoint`, `request` and `decoder` do. Servers with known
limits have a function in `presets`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from ssl import SSLContext
from typing import Any, Literal

from voicegw.agents.client.http_errors import redact
from voicegw.agents.client.response import HttpResponse
from voicegw.agents.finish_reasons import AnswerState
from voicegw.agents.openai.call_memory import CallMemory
from voicegw.agents.openai.decoder import ChatChunkDecoder, decode_completion
from voicegw.agents.openai.endpoint import ChatEndpoint
from voicegw.agents.openai.request import encode_request
from voicegw.agents.openai.stream_decoder import ChatStreamDecoder
from voicegw.agents.session_prompt import user_message_count, with_missed_context
from voicegw.errors import AgentError, AgentProtocolError
from voicegw.events import Event, Turn, Usage
from voicegw.turns.streaming import EventSink, StreamingAgent, push_rest
from voicegw.wire.json import dumps
from voicegw.wire.sse import MAX_EVENT_BYTES


class OpenAIAgent(StreamingAgent):
    """An agent behind `POST .../chat/completions`; closing a reply closes its connection.

    `url` is the base URL (`http://host/v1`) or the full one. `key` is sent as a bearer token. `model`
    replaces the model that the turn names. `fields` lists the fields that the server accepts beyond `model`,
    `messages` and `stream`; None means all. `stream=False` asks for whole answers. `headers` go with every
    request. `ssl` replaces the system's certificate authorities. `connect_timeout` is in seconds.
    `developer_role` is the role of the developer's messages, and `max_tokens_field` the name of the token
    limit; None means those of OpenAI's API for OpenAI and Azure, and for other servers "system" and
    "max_tokens", which all of them know. `extra_body` are further fields of each request, such as `top_k`;
    they replace options of the turn. `idempotent`: a turn may be sent twice without harm. `usage_totals`: the
    server counts the tokens of the whole conversation; a turn's usage is the difference.

    For servers that are agents themselves:
    - `text_only` sends only the texts of the system, the user and the assistant.
    - `tools_run_by="server"` reports the tools that the server calls as `Activity`; by default the platform
      is asked to run them.
    - `conversation_header` names a header with the id of the call, for a server that keeps the conversation.
      Such a server reads only the last message of a request. It forgets turns that were interrupted, so the
      last message repeats what it missed.
    - `history="last"` sends only that message and the instructions to such a server.
    - `list_models` asks the server for its models at start; a turn that names one of them gets it. `models`
      holds them, and is empty until then.

    The constructor raises `ConfigError` if `url` is no address.
    """

    def __init__(
        self,
        url: str,
        *,
        key: str | None = None,
        model: str | None = None,
        fields: frozenset[str] | None = None,
        stream: bool = True,
        headers: Mapping[str, str] | None = None,
        ssl: SSLContext | None = None,
        connect_timeout: float = 5.0,
        idempotent: bool = False,
        developer_role: Literal["developer", "system"] | None = None,
        max_tokens_field: Literal["max_tokens", "max_completion_tokens"] | None = None,
        extra_body: Mapping[str, Any] | None = None,
        usage_totals: bool = False,
        text_only: bool = False,
        tools_run_by: Literal["platform", "server"] = "platform",
        conversation_header: str | None = None,
        history: Literal["whole", "last"] = "whole",
        list_models: bool = False,
    ) -> None:
        self.models: Sequence[str] = ()
        self._endpoint = ChatEndpoint(
            url,
            key=key,
            headers=headers or {},
            stream=stream,
            ssl=ssl,
            connect_timeout=connect_timeout,
            idempotent=idempotent,
        )
        is_openai = self._endpoint.is_openai
        self._list_models = list_models
        self._model = model
        self._encode_request = partial(
            encode_request,
            fields=fields,
            stream=stream,
            text_only=text_only,
            developer_role=developer_role or ("developer" if is_openai else "system"),
            max_tokens_field=max_tokens_field or ("max_completion_tokens" if is_openai else "max_tokens"),
            extra_body=extra_body,
        )
        self._server_runs_tools = tools_run_by == "server"
        self._conversation_header = conversation_header
        self._keep_history = history == "whole"
        # Whether the server has ever ended an answer by a finish reason or `[DONE]`; then it always must.
        self._marks_ends = False
        self._usage_totals = usage_totals
        self._memory = CallMemory()

    async def stream(self, turn: Turn, sink: EventSink) -> None:
        """Ask for an answer to `turn` and push its events as they arrive.

        Raises the `AgentError` of the client, of a status other than 200, or that the server reports, and
        `AgentProtocolError` if the answer breaks off before its end or is of another type.
        """
        chunks = self._make_decoder(turn)
        decoder = ChatStreamDecoder(chunks)
        try:
            async with self._send(turn) as response:
                await self._endpoint.check_status(response)
                if not await self._endpoint.is_stream(response):
                    body = await response.read(MAX_EVENT_BYTES)
                    events = decode_completion(body, turn.id, server_runs_tools=self._server_runs_tools)
                    return self._push_rest(events, turn, sink)
                push = partial(self._push, response, decoder, turn, sink)
                if not (await response.pump(push) or chunks.done):
                    return
                self._check_end(decoder)
        except AgentError as error:
            if chunks.answer_end.state is not AnswerState.ENDED:  # after it, a break loses nothing
                redact(error, self._endpoint.secrets)
                raise
        self._push_rest(chunks.end(), turn, sink)

    def _make_decoder(self, turn: Turn) -> ChatChunkDecoder:
        names = (tool.name for tool in turn.tools)
        return ChatChunkDecoder(turn.id, tool_names=names, server_runs_tools=self._server_runs_tools)

    def _push(
        self, response: HttpResponse, decoder: ChatStreamDecoder, turn: Turn, sink: EventSink, data: bytes
    ) -> bool:
        """Push the events that `data` completes. Return False if no more of the body is needed.

        Raises the failure that the server reports.
        """
        events = decoder.feed(data)
        for event in events:
            if not sink.push(event if type(event) is str else self._usage_of_turn(event, turn)):
                return False
        sink.flush()
        if decoder.failure is not None:
            raise decoder.failure
        chunks = decoder.chunks
        if chunks.done:
            response.discard_rest()
            return False
        if chunks.answer_end.reason is not None:
            response.expect_end(chunks.answer_end.state, restart=bool(events))
        return True

    def _push_rest(self, events: Iterable[Event], turn: Turn, sink: EventSink) -> None:
        """Push the last events of the answer."""
        self._note_answered(turn)
        push_rest((self._usage_of_turn(event, turn) for event in events), sink)

    def _check_end(self, decoder: ChatStreamDecoder) -> None:
        """Raise `AgentProtocolError` if the body ended in an event, or without the usual marks."""
        chunks = decoder.chunks
        if decoder.has_partial_event and chunks.answer_end.state is not AnswerState.ENDED:
            raise AgentProtocolError(f"{self._endpoint.url} broke off in the middle of an event")
        if chunks.done or chunks.answer_end.reason is not None:
            self._marks_ends = True
        elif self._marks_ends:
            raise AgentProtocolError(
                f"{self._endpoint.url} ended in the middle of an answer: "
                "without finish_reason and [DONE], which it sent before"
            )

    def _send(self, turn: Turn) -> AbstractAsyncContextManager[HttpResponse]:
        call = self._kept_call(turn)
        body = dumps(self._request_body(turn, call))
        if call is None or self._conversation_header is None:
            return self._endpoint.send(body)
        return self._endpoint.send(body, {self._conversation_header: call})

    def _request_body(self, turn: Turn, call: str | None) -> dict[str, object]:
        known = None if call is None else self._memory.answered_count(call)
        if known is not None:
            turn = with_missed_context(turn, known, keep_history=self._keep_history)
        model = turn.model if turn.model in self.models else self._model
        return self._encode_request(turn, model=model)

    def _kept_call(self, turn: Turn) -> str | None:
        """Return the call whose conversation the server keeps; None for a background turn, which has none."""
        return None if self._conversation_header is None or turn.background else turn.call

    def _note_answered(self, turn: Turn) -> None:
        """Remember that the server answered all of this turn, and therefore keeps it."""
        if (call := self._kept_call(turn)) is not None:
            self._memory.note_answered(call, user_message_count(turn.messages))

    def _usage_of_turn(self, event: Event, turn: Turn) -> Event:
        """Return the event; of a usage that is a total, the part that this turn of the call added."""
        if type(event) is not Usage or not self._usage_totals or turn.call is None:
            return event
        return self._memory.added_usage(turn.call, event)

    async def warm(self, call: str | None = None) -> None:
        """Open a connection. With `list_models`, also load the list of models, unless that was done.

        Raises `AgentUnavailable` if the server cannot be reached, and the `AgentError` of a refused list.
        """
        await self._endpoint.client.prewarm(1)
        if self._list_models and not self.models:
            self.models = await self._endpoint.fetch_models()

    async def call_ended(self, call: str) -> None:
        """Forget the token totals and the message count of the call."""
        self._memory.forget(call)

    async def aclose(self) -> None:
        """Close every connection."""
        await self._endpoint.client.aclose()
