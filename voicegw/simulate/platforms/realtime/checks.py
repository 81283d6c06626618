"""What a client of OpenAI's realtime protocol needs beyond what every platform does. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from voicegw.simulate.checks import COMES_BACK, COMMON, Check, CheckFunction, check_turns, from_violations_if, from_violations, is_uninterrupted
from voicegw.simulate.frame_schema import FrameFields, FieldPredicate, is_count, matches, required_fields, is_object, optional_fields, is_text
from voicegw.simulate.recording import Recording, RecordedTurn
from voicegw.simulate.script import CallScript


def _perhaps(value: object) -> bool:
    return value is None or isinstance(value, str)


def _having(**fields: FieldPredicate) -> FieldPredicate:
    """An object with these fields, among others."""
    return lambda value: (
        isinstance(value, dict) and all(name in value and fits(value[name]) for name, fits in fields.items())
    )


def _list(value: object) -> bool:
    return isinstance(value, list)


IS_ID = matches(r"(?s).+")
IS_ITEM = _having(id=IS_ID, type=is_text)
RESPONSE_FIELDS = required_fields(response_id=IS_ID, output_index=is_count)
PART_FIELDS = RESPONSE_FIELDS | required_fields(item_id=IS_ID, content_index=is_count)
CALL_FIELDS = RESPONSE_FIELDS | required_fields(item_id=IS_ID, call_id=IS_ID)
IS_ERROR = _having(type=is_text, message=is_text)
CHECKED_EVENTS: Mapping[str, FrameFields] = {
    "session.created": required_fields(session=is_object),
    "session.updated": required_fields(session=is_object),
    "conversation.item.added": required_fields(item=IS_ITEM) | optional_fields(previous_item_id=_perhaps),
    "conversation.item.done": required_fields(item=IS_ITEM) | optional_fields(previous_item_id=_perhaps),
    "conversation.item.truncated": required_fields(item_id=IS_ID, content_index=is_count, audio_end_ms=is_count),
    "response.created": required_fields(response=_having(id=IS_ID, status=is_text)),
    "response.output_item.added": RESPONSE_FIELDS | required_fields(item=IS_ITEM),
    "response.content_part.added": PART_FIELDS | required_fields(part=_having(type=is_text)),
    "response.output_text.delta": PART_FIELDS | required_fields(delta=is_text),
    "response.output_text.done": PART_FIELDS | required_fields(text=is_text),
    "response.content_part.done": PART_FIELDS | required_fields(part=_having(type=is_text)),
    "response.function_call_arguments.delta": CALL_FIELDS | required_fields(delta=is_text),
    "response.function_call_arguments.done": CALL_FIELDS | required_fields(arguments=is_text),
    "response.output_item.done": RESPONSE_FIELDS | required_fields(item=IS_ITEM),
    "response.done": required_fields(response=_having(id=IS_ID, status=is_text, output=_list)),
    "error": required_fields(error=IS_ERROR),
}
UNCHECKED_EVENTS = (
    *("conversation.created", "conversation.item.created", "conversation.item.deleted"),
    *("conversation.item.retrieved", "rate_limits.updated"),
)
EVENT_TYPES: Mapping[str, FrameFields] = {**CHECKED_EVENTS, **{kind: {} for kind in UNCHECKED_EVENTS}}
"""What a gateway may send to somebody who neither speaks nor listens."""

MissingAnswers: TypeAlias = Callable[[str], list[str] | None]
"""What of an entry is still owed at the end: answers to events of ours; None if none ever was."""


def _done(turn: RecordedTurn, script: CallScript) -> str | None:
    return "no response.done" if turn.texts and not turn.end_times else None


def _running(turn: RecordedTurn) -> bool:
    """Was there something to cancel?"""
    stopped = turn.stopped_at
    return stopped is not None and not any(end < stopped for end in turn.end_times)


def _cancelled(turn: RecordedTurn, script: CallScript) -> str | None:
    most = script.patience.stop
    after = min((end - (turn.stopped_at or 0.0) for end in turn.end_times), default=None)
    if after is None:
        return "no response.done followed response.cancel"
    return f"response.done came {after:.2f} s after response.cancel" if after > most else None


SESSION_FIRST = "session.created comes first, and session.updated before the first response"
EVENTS = "every event is a JSON text of a known type, with its fields and an id of its own"
CREATED = "a response begins with one response.created and ends with one response.done, completed"


def build_checks(missing_answers: MissingAnswers) -> Sequence[Check]:
    """The checklist of one call."""

    def answered(item: str) -> CheckFunction:
        return lambda tape, script: missing_answers(item)

    return (
        *COMMON,
        COMES_BACK,
        Check("session-first", SESSION_FIRST, answered("session-first")),
        Check("events", EVENTS, from_violations),
        Check(
            "created-done", CREATED, check_turns(_done, lambda turn: is_uninterrupted(turn) and bool(turn.texts or turn.end_times))
        ),
        Check("items", "items and their parts are added and done in pairs, and counted from 0", _speaking),
        Check("deltas", "the deltas together are the text, wherever that is told again", _speaking),
        Check(
            "cancels",
            "after response.cancel the response is soon done, cancelled",
            check_turns(_cancelled, _running),
        ),
        Check("truncates", "a truncated item is confirmed with the same fields", answered("truncates")),
        Check("errors", "what makes no sense brings one error event, which names ours", answered("errors")),
        Check(
            "tools",
            "only offered tools are called, each under its own call_id and with a JSON object",
            from_violations_if(lambda tape: any(turn.actions for turn in tape.turns)),
        ),
        Check(
            "not-twice",
            "a response.create while a response is being made brings an error, and no second answer",
            answered("not-twice"),
        ),
    )


def _speaking(tape: Recording, script: CallScript) -> list[str] | None:
    return [] if any(turn.texts for turn in tape.turns) else None
