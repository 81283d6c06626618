"""The end of a streamed answer, as the finish reasons of its chunks show it. Pure.

Some servers give a finish reason in each chunk. So a reason is certain only if its chunk has nothing else, or
if an earlier piece of the answer came without one.
"""

from __future__ import annotations

from voicegw.agents.finish_reasons import AnswerState, is_cut
from voicegw.agents.tool_calls import ToolCallGatherer
from voicegw.events import Reason


class AnswerEnd:
    """How far one answer is. `reason` is the last reason to finish, None before it."""

    __slots__ = ("_had_piece", "_had_unmarked_chunk", "_had_unmarked_piece", "reason", "state")

    def __init__(self) -> None:
        self.state = AnswerState.OPEN
        self.reason: Reason | None = None
        # Whether pieces of the answer came, and whether any came without a reason; the same of all chunks.
        self._had_piece = self._had_unmarked_piece = self._had_unmarked_chunk = False

    def note_unmarked(self, *, has_piece: bool) -> None:
        """Note a chunk without a reason, with or without a piece of the answer."""
        self._had_unmarked_chunk = True
        if has_piece:
            self._had_piece = self._had_unmarked_piece = True
            self.state = AnswerState.OPEN

    def note_reason(self, reason: Reason, calls: ToolCallGatherer, *, has_piece: bool) -> None:
        """Note a chunk with a reason. A call without arguments may still get them unless it is certain."""
        had_other_chunk = self._had_piece or self._had_unmarked_chunk
        is_certain = self._had_unmarked_piece if has_piece else had_other_chunk
        goes_on = calls.has_partial_call or (calls.has_bare_call and not is_certain)
        self.reason, self._had_piece = reason, self._had_piece or has_piece
        if goes_on and not is_cut(reason):
            self.state = AnswerState.OPEN
        else:
            self.state = AnswerState.ENDED if is_certain else AnswerState.MAYBE_ENDED

    def note_server_tools(self) -> None:
        """Note that the server runs the tool calls that end this step: the answer goes on after them."""
        self.reason, self.state = "tool_calls", AnswerState.OPEN

    def note_error(self) -> None:
        """Note an error that the server reports: it counts although a reason to finish came before it."""
        self.state = AnswerState.OPEN

    def note_done(self) -> None:
        """Note the end of the stream by `[DONE]`, or that of a whole answer."""
        self.state = AnswerState.ENDED
