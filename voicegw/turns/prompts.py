"""Texts of the gateway that only agents read: prompts in place of words of the caller, results of actions."""

from __future__ import annotations

from itertools import takewhile

from voicegw.events import Turn

SILENCE_PROMPT = "(The caller has been silent for a while. Say something short to bring them back.)"
"""The prompt when the caller says nothing after an answer."""
CALL_START_PROMPT = "(The call has begun, and nobody has spoken yet.)"
"""The prompt at the start of a call, before the caller spoke."""
RESUME_PROMPT = (
    "(A noise interrupted you, and the caller said nothing. Go on with your answer where it was cut off.)"
)
"""The prompt after an interruption without words, where the agent is asked to go on."""
KEYPAD_PROMPT = "(The caller pressed {digits} on the keypad.)"
"""The words in place of keys that the caller pressed."""
ACTION_DONE = "Done."
"""The result of an action that was executed."""
ACTION_DONE_BEFORE = "Done before: the same action was executed for the same words of the caller."
"""The result of an action that an agent repeats within one turn."""
NOT_DONE = "Not done: "
"""The beginning of the result of an action that was not executed."""
ACTION_NOT_POSSIBLE = NOT_DONE + "the platform cannot do this, or the arguments make no sense."
"""The result of an action that is refused, where no better reason is known."""
TRANSFER_FAILED = NOT_DONE + "the transfer failed ({status}), and the caller is back."
"""The result of a transfer that nobody took; `status` is the platform's word for the reason."""
TRANSFER_FAILED_PROMPT = "(The transfer of this call failed ({status}). The caller is back: go on.)"
"""The prompt after it, where nothing is known of the call."""
ACTION_CUT_OFF = NOT_DONE + "the caller interrupted before it was done."
"""The result of an action that the caller cut off."""


def may_stay_silent(turn: Turn) -> bool:
    """Return whether an answer without words is no failure: the agent acted before, and it was done."""
    if turn.kind != "tool":
        return False
    results = takewhile(lambda message: message.role == "tool", reversed(turn.messages))
    return not any(message.text.startswith(NOT_DONE) for message in results)
