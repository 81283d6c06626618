"""The answer to one request whose turn is open: a stream, or the whole when the run has ended."""

from __future__ import annotations

from starlette.responses import Response
from starlette.types import Receive

from voicegw.api.run_waiter import wait_for_run
from voicegw.api.sse import SseResponse
from voicegw.api.turn_request import TurnRequest
from voicegw.conversations.engine import ActiveTurn
from voicegw.conversations.response_store import ResponseStore
from voicegw.turns.run import Run, Subscriber


class TurnAnswer:
    """Answers one request, and closes its turn."""

    def __init__(
        self, request: TurnRequest, active: ActiveTurn, responses: ResponseStore, *, adds_timings: bool
    ) -> None:
        # The request.
        self.request = request
        # Its turn.
        self.active = active
        # The responses that requests may continue.
        self.responses = responses
        # True: the stream ends with the timings of the turn as a comment.
        self.adds_timings = adds_timings
        # The id of the response.
        self.response_id = request.format.response_id(active.run.turn.id)

    @property
    def run(self) -> Run:
        """The run that answers."""
        return self.active.run

    async def wait(self, receive: Receive, max_seconds: float | None) -> None:
        """Start the run, and wait until it has ended or, if it is streamed, has spoken.

        It takes at most `max_seconds`, None for no limit. Cancelled, stop the run.
        """
        run, stream = self.run, self.request.api_request.stream
        try:
            await wait_for_run(
                run,
                lambda: run.event_log.has_ended or (stream and run.has_spoken),
                self.active.engine.dispatcher,
                receive,
                max_seconds,
            )
        except BaseException:
            self._abandon()
            raise

    def respond(self) -> Response:
        """Return the response: a stream, or the whole answer of a run that has ended.

        Raise the failure of the run if no byte of the response was sent.
        """
        run, timings = self.run, self.request.timings
        if self.request.api_request.stream and run.event_log.failure is None:
            try:
                return self._create_stream()
            except BaseException:
                self._abandon()
                raise
        timings.first_token_at = run.first_token_at
        was_delivered = run.event_log.has_ended and run.cancelled_at is None  # else the client disconnected
        if was_delivered:
            timings.close(run.now())
        self._close(None, was_delivered=was_delivered)
        if run.event_log.failure is not None:
            raise run.event_log.failure
        return self.request.completion_response(run)

    def _create_stream(self) -> SseResponse:
        """Return the streamed response. Its end closes the turn."""
        stream = self.request.create_stream(self.run, self.adds_timings, self._note_own_words)
        return SseResponse(self.run, stream, self._on_end, self.request.response_headers)

    def _note_own_words(self, words: str, event_count: int, tool_call_count: int) -> None:
        """Remember words of the gateway, sent behind so many events and tool calls of the agent."""
        calls = self.active.engine.dispatcher.calls
        calls.add_own_phrase(self.request.call_id, self.run, words, event_count)
        self.responses.note_own_words(self.request.context.key.name, self.response_id, tool_call_count)

    def _on_end(self, response: SseResponse) -> None:
        was_delivered = response.response_stream.is_done and not response.has_disconnected
        self._close(response, was_delivered=was_delivered)

    def _abandon(self) -> None:
        """Stop the run of a request that gets no response."""
        self.run.cancel()
        self._close(None, was_delivered=False)

    def _close(self, subscriber: Subscriber | None, *, was_delivered: bool) -> None:
        """Close the turn, and complete its stored response."""
        self.active.close(subscriber, was_delivered=was_delivered)
        if self.request.api_request.store:
            self.responses.complete(self.request.context.key.name, self.response_id, self.run.now())
