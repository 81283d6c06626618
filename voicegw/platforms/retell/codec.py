"""Decodes the frames of Retell's custom LLM websocket, and makes the encoders of its replies.

Each request holds the transcript, and each reply carries the request's `response_id`. Retell accepts content
only for the newest `response_id` that it sent, and only until a frame says that the reply is complete.
`voicegw.platforms.retell.turn` encodes replies; the webhook is in `voicegw.platforms.retell.webhook`.

Source: Retell's documentation of the LLM websocket and its demo server.
"""

from __future__ import annotations

from typing import Any

from voicegw.calls.codec import (
    CallEvent,
    CallStarted,
    ProtocolReply,
    TranscriptUpdated,
    TurnRequested,
    UnexpectedFrame,
)
from voicegw.platforms.retell.transcript import ends_with_keys, parse_history
from voicegw.platforms.retell.turn import RetellTurn, encode_frame
from voicegw.security.transfer_policy import TransferPolicy
from voicegw.wire.json import loads_object

TURN_KINDS = {"response_required": "said", "reminder_required": "reminder"}
"""`TurnRequested.kind` by the interaction_type of a request."""


class RetellCodec:
    """Decodes and encodes the frames of one Retell socket."""

    name = "retell"
    close_code = 1012
    """Service Restart, after which Retell reconnects; 1000 would hang up the call."""
    end_call_is_final = False
    """If the caller interrupts the last words, Retell does not hang up."""
    names_interrupted_turn = True
    asks_again = True
    """Retell accepts the reply to its newest request also on a new socket."""

    def __init__(
        self,
        call_id: str,
        *,
        auto_reconnect: bool = True,
        call_details: bool = True,
        transcript_with_tool_calls: bool = True,
        transfers: TransferPolicy | None = None,
    ) -> None:
        """Make the codec of one socket; `transfers` are the numbers to which calls may be transferred.

        The other options are those of Retell's config frame, by its names.
        """
        self.transfers = transfers
        self.call_id = call_id  # the last segment of the path that Retell connected to
        self.newest_response_id = 0  # of the requests so far; 0 is the greeting
        self.is_requested = False  # was a reply with this id requested?
        # The options of the config frame, by Retell's names.
        self.config = {
            "auto_reconnect": auto_reconnect,
            "call_details": call_details,
            "transcript_with_tool_calls": transcript_with_tool_calls,
        }

    def open(self, greeting: str, *, reconnected: bool = False) -> bytes:
        """Return the config frame and the greeting; "" lets the caller speak first.

        A socket that replaces a lost one (`reconnected`) gets the config frame alone.
        """
        config = encode_frame({"response_type": "config", "config": self.config})
        if reconnected:
            return config
        turn = RetellTurn(0)
        turn.start(greeting)
        return config + turn.finish("stop", None)

    def receive(self, frame: str | bytes) -> CallEvent | None:
        """Decode a frame. Never raises, for any input."""
        data = loads_object(frame) if isinstance(frame, str) else None
        if data is None:
            return UnexpectedFrame("a frame that is not a JSON object")
        match data.get("interaction_type"):
            case "update_only":
                history = parse_history(data)
                return (
                    UnexpectedFrame("an update without a transcript")
                    if history is None
                    else TranscriptUpdated(history)
                )
            case "response_required" | "reminder_required" as kind:
                return self._decode_request(data, TURN_KINDS[kind])
            case "ping_pong":
                return _reply_to_ping(data.get("timestamp"))
            case "call_details":
                metadata = data.get("call")
                return (
                    CallStarted(self.call_id, metadata)
                    if isinstance(metadata, dict)
                    else UnexpectedFrame("call_details without a call")
                )
        return UnexpectedFrame("a frame of an unknown type")

    def begin_turn(self, request: TurnRequested) -> RetellTurn:
        """Return the encoder of the reply to `request`."""
        self.newest_response_id, self.is_requested = max(request.id, self.newest_response_id), True
        return RetellTurn(request.id, self.transfers)

    def _decode_request(self, data: dict[str, Any], kind: str) -> TurnRequested | UnexpectedFrame:
        id, history = data.get("response_id"), parse_history(data)
        if type(id) is not int:
            return UnexpectedFrame("a request without a valid response_id")
        if id < self.newest_response_id:
            return UnexpectedFrame("a request older than the newest")
        if id == self.newest_response_id and self.is_requested:
            return UnexpectedFrame("a request that came before")
        self.newest_response_id = id
        if history is None:
            return UnexpectedFrame("a request without a transcript")
        self.is_requested = True
        if kind == "said" and ends_with_keys(data):
            kind = "keypad"
        text = next((message.text for message in reversed(history) if message.role == "user"), "")
        return TurnRequested("" if kind == "reminder" else text, kind, history=history, id=id)


def _reply_to_ping(timestamp: Any) -> ProtocolReply | UnexpectedFrame:
    if type(timestamp) is not int:
        return UnexpectedFrame("a ping without a timestamp")
    return ProtocolReply(encode_frame({"response_type": "ping_pong", "timestamp": timestamp}))
