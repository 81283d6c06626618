"""A response of an agent's server: its head, and its body in the pieces in which it arrives.

`http` sends the request and keeps or closes the connection afterwards.
"""

from __future__ import annotations

from collections.abc import Mapping

from voicegw.agents.client.connection import Connection
from voicegw.agents.finish_reasons import AnswerState
from voicegw.errors import AgentProtocolError
from voicegw.wire.sse import starts_event_stream

EVENT_STREAM = "text/event-stream"
OTHER_STARTS = (b"{", b"[", b"<")
"""First bytes of JSON and HTML, with which no event stream begins: some servers report errors so."""
END_TIMEOUTS = {AnswerState.ENDED: 0.5, AnswerState.MAYBE_ENDED: 5.0}
"""Seconds that a body gets to end in these states of the answer: token counts or more of it may follow."""


class HttpResponse:
    """A response whose head has arrived.

    `pump` passes each piece of the body to a function in the callback in which it arrives; see
    `Connection.pump`.
    """

    __slots__ = ("_connection", "headers", "idempotent", "pump", "status")

    def __init__(self, connection: Connection, idempotent: bool) -> None:
        self._connection = connection
        self.pump = connection.pump
        # Whether the server may get the request again.
        self.idempotent = idempotent
        # The status code, such as 200.
        self.status = connection.status
        # By their names in lower case.
        self.headers: Mapping[str, str] = connection.headers

    @property
    def is_compressed(self) -> bool:
        """Whether the body is compressed against the request. Only a refusal may be: others raise before."""
        return self.headers.get("content-encoding", "identity") != "identity"

    @property
    def content_type(self) -> str:
        """The type of the body in lower case, without parameters; "" if the response names none."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    async def is_event_stream(self) -> bool:
        """Whether the body is a stream of server-sent events: by its type and by its first bytes.

        Reads nothing, but waits for these bytes. Raises `AgentProtocolError` if the body breaks off.
        """
        start = b""
        if self.content_type == EVENT_STREAM:
            start = await self._connection.peek(1)
            return start[:1] not in OTHER_STARTS
        while (found := starts_event_stream(start)) is None:
            known = len(start)
            start = await self._connection.peek(known + 1)
            if len(start) == known:
                return False
        return found

    async def read(self, max_bytes: int) -> bytes:
        """Return the whole body. Raises `AgentProtocolError` if it breaks off or exceeds `max_bytes`."""
        body = await self.read_start(max_bytes + 1)
        if len(body) > max_bytes:
            raise AgentProtocolError(f"a body of more than {max_bytes} bytes")
        return body

    async def read_start(self, size: int) -> bytes:
        """Return the first `size` bytes of the body, fewer if it is shorter.

        Raises `AgentProtocolError` if it breaks off before that.
        """
        body = bytearray()

        def feed(data: bytes) -> bool:
            body.extend(data)
            return len(body) < size

        await self.pump(feed)
        return bytes(body[:size])

    def expect_end(self, state: AnswerState, *, restart: bool) -> None:
        """Say how far the answer in the body is: the body ends within the seconds that this allows.

        They count from the first call with this state, or from the last one with `restart`, because more of
        the answer came. A connection whose body did not end by itself is closed after the `async with`.
        """
        timeout = END_TIMEOUTS.get(state)
        if timeout is None:
            self._connection.unlimit_rest()
        else:
            self._connection.limit_rest(timeout, restart=restart)

    def discard_rest(self) -> None:
        """Say that the rest of the body does not matter.

        After the `async with`, the connection is kept if the body ends within `DRAIN_TIMEOUT` seconds.
        """
        self._connection.rest_discarded = True
