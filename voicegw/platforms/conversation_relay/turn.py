"""Encodes one turn as a talk cycle of ConversationRelay: tokens, actions, and the end of the call. Pure.

The platform joins tokens as they are, so the agent's spaces are kept. A token after the final one would open
a new talk cycle.
"""

from __future__ import annotations

from voicegw.calls.action_arguments import ActionRefused
from voicegw.calls.action_results import ActionResults
from voicegw.calls.codec import TurnEncoder
from voicegw.events import ToolCall, Usage
from voicegw.platforms.conversation_relay.actions import RelayActions
from voicegw.turns.prompts import NOT_DONE
from voicegw.wire.json import dumps

ENDS_ALREADY = NOT_DONE + "an action before it ends the call already."
"""The result of the second action in a turn that ends or transfers the call."""


class RelayTurn(TurnEncoder):
    """Encodes one turn: text tokens and actions, one final token, and the end of the call after it."""

    keepalive = b""

    def __init__(
        self,
        partial_tail: bytes,
        final_tail: bytes,
        possible: RelayActions,
        *,
        may_be_silent: bool = False,
    ) -> None:
        self.partial_tail = partial_tail  # the end of a text frame that is not the last of the turn
        self.final_tail = final_tail
        self.possible = possible  # the actions that the platform can execute
        self.may_be_silent = may_be_silent  # without words, the turn has no talk cycle to close
        self.gathered: list[str] = []  # words that are not in a frame yet
        self._spoken = ""  # all text that was put into tokens so far
        self.has_tokens = False  # did a token open the talk cycle?
        self.ended = False  # set by `finish` and `stop`
        self.end_frame = b""  # ends the session after the final token; b"" if the call goes on
        self.end_call: ToolCall | None = None  # the action to which it belongs
        self.actions = ActionResults()

    @property
    def spoken_text(self) -> str:
        """All text that was put into tokens so far."""
        return self._spoken

    @property
    def ends_call(self) -> bool:
        """Did the agent end or transfer the call in this turn? False after `stop`."""
        return self.end_call is not None

    def start(self, words: str) -> bytes:
        """Gather the acknowledgement; return b""."""
        return self.text_delta(words)

    def text_delta(self, delta: str) -> bytes:
        """Gather words; return b""."""
        if not self.ended:
            self.gathered.append(delta)
        return b""

    def drain(self) -> bytes:
        """Return the gathered words as one token, b"" if there are none."""
        words = self._take_gathered()
        if not words:
            return b""
        self.has_tokens = True
        return self._encode_token(words, self.partial_tail)

    def tool_call(self, call: ToolCall) -> bytes:
        """Return the frame of an action behind the gathered words.

        Ending the call waits for `finish`, and the first such action counts. An unknown action or invalid
        arguments do nothing, and so does an action that was executed for the same words of the caller.
        """
        if self.ended or self.actions.is_repeated(call):
            return b""
        try:
            action = self.possible.encode(call)
        except ActionRefused as refusal:
            self.actions.refuse(call, str(refusal))
            return b""
        if action["type"] == "end" and self.end_call is not None:
            self.actions.refuse(call, ENDS_ALREADY)
            return b""
        self.actions.execute(call)
        frame = dumps(action) + b"\n"
        if action["type"] != "end":
            return self.drain() + frame
        self.end_call, self.end_frame = call, frame
        return b""

    def finish(self, reason: str, usage: Usage | None, note: str = "") -> bytes:
        """Return the remaining words as the final token, then the end of the call if the agent ended it.

        A turn with actions and without words opened no talk cycle, and closes none. With `holds_end`, the
        end of the call waits for `hang_up`.
        """
        if self.ended:
            return b""
        self.ended = True
        words = self._take_gathered()
        opened_no_cycle = self._may_be_silent and not words and not self.has_tokens
        last_words = b"" if opened_no_cycle else self._encode_token(words, self.final_tail)
        return last_words if self.holds_end else last_words + self.hang_up()

    def hang_up(self) -> bytes:
        """Return the frame that ends the session, once; b"" if the call goes on."""
        frame, self.end_frame = self.end_frame, b""
        return frame

    def stop(self) -> bytes:
        """Close the talk cycle if it was opened; drop the gathered words and the end of the call."""
        if self.end_frame and self.end_call is not None:
            self.actions.cut_off(self.end_call)
            self.end_call, self.end_frame = None, b""
        if self.ended:
            return b""
        self.ended = True
        self.gathered.clear()
        return self._encode_token("", self.final_tail) if self.has_tokens else b""

    @property
    def _may_be_silent(self) -> bool:
        has_acted = bool(self.actions.by_id) and not self.actions.has_refused
        return self.may_be_silent or has_acted or bool(self.actions.executed)

    def _take_gathered(self) -> str:
        words = "".join(self.gathered)
        self.gathered.clear()
        return words

    def _encode_token(self, words: str, tail: bytes) -> bytes:
        self._spoken += words
        return b'{"type":"text","token":' + dumps(words) + tail
