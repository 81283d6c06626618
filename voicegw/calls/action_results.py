"""The results of the agent's actions in one turn, as the agent reads them in the next one. Pure.

The encoders of `voicegw.platforms` decide each action; `voicegw.calls.session` asks the agent to go on.
"""

from __future__ import annotations

from voicegw.events import ToolCall
from voicegw.turns.prompts import ACTION_DONE, ACTION_DONE_BEFORE, ACTION_NOT_POSSIBLE


class ActionResults:
    """The actions of one turn, and the result of each. An action without a result was cut off."""

    def __init__(self) -> None:
        self.executed: list[ToolCall] = []  # the platform executes them, or has executed them
        self.by_id: dict[str, str] = {}  # the result that the agent reads, by the call's id
        # Results by name and arguments, of earlier runs for the same words of the caller.
        self.earlier: dict[tuple[str, str], str] = {}
        self.has_new = False  # did the agent call an action that it had not called before?
        self.has_refused = False  # was an action refused?

    def is_repeated(self, call: ToolCall) -> bool:
        """Did the agent call the same action for the same words before? Then it has its result."""
        result = self.earlier.get((call.name, call.arguments))
        if result is None:
            self.has_new = True
            return False
        self.by_id[call.id] = ACTION_DONE_BEFORE if result == ACTION_DONE else result
        self.has_refused = self.has_refused or result != ACTION_DONE
        return True

    def execute(self, call: ToolCall) -> None:
        """Note that the platform executes the action."""
        self.executed.append(call)
        self.by_id[call.id] = ACTION_DONE

    def refuse(self, call: ToolCall, result: str = ACTION_NOT_POSSIBLE) -> None:
        """Note that the action is not executed; `result` is the reason for the agent."""
        self.by_id[call.id] = result
        self.has_refused = True

    def cut_off(self, call: ToolCall) -> None:
        """Note that the caller interrupted before the action was executed."""
        self.executed.remove(call)
        del self.by_id[call.id]

    def merge_into(self, earlier: dict[tuple[str, str], str], calls: tuple[ToolCall, ...]) -> None:
        """Add the results of these actions to those of the same words of the caller."""
        for call in calls:
            if call.id in self.by_id:
                earlier.setdefault((call.name, call.arguments), self.by_id[call.id])
