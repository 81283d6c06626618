"""The checks of OpenAI's Realtime protocol besides those that all platforms share. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from voicegw.simulate.checks import (
    COMES_BACK,
    COMMON,
    Check,
    CheckFunction,
    check_turns,
    from_violations,
    from_violations_if,
    is_uninterrupted,
)
from voicegw.simulate.frame_schema import (
    FieldPredicate,
    FrameFields,
    is_count,
    is_object,
    is_text,
    matches,
    optional_fields,
    required_fields,
)
from voicegw.simulate.platforms.situation_checks import LATE_INTERRUPT
from voicegw.simulate.recording import RecordedTurn, Recording
from voicegw.simulate.script import CallScript


def _is_text_or_null(value: object) -> bool:
    return value is None or isinstance(value, str)


def _has_fields(**fields: FieldPredicate) -> FieldPredicate:
    """Return a predicate for an object with these fields, and possibly others."""
    return lambda value: (
        isinstance(value, dict) and all(name in value and fits(value[name]) for name, fits in fields.items())
    )


def _is_list(value: object) -> bool:
    return isinstance(value, list)


IS_ID = matches(r"(?s).+")
IS_ITEM = _has_fields(id=IS_ID, type=is_text)
IS_ERROR = _has_fields(type=is_text, message=is_text)
RESPONSE_FIELDS = required_fields(response_id=IS_ID, output_index=is_count)
PART_FIELDS = RESPONSE_FIELDS | required_fields(item_id=IS_ID, content_index=is_count)
CALL_FIELDS = RESPONSE_FIELDS | required_fields(item_id=IS_ID, call_id=IS_ID)
ITEM_FIELDS = required_fields(item=IS_ITEM) | optional_fields(previous_item_id=_is_text_or_null)
CHECKED_EVENTS: Mapping[str, FrameFields] = {
    "session.created": required_fields(session=is_object),
    "session.updated": required_fields(session=is_object),
    "conversation.item.added": ITEM_FIELDS,
    "conversation.item.done": ITEM_FIELDS,
    "conversation.item.truncated": required_fields(
        item_id=IS_ID, content_index=is_count, audio_end_ms=is_count
    ),
    "response.created": required_fields(response=_has_fields(id=IS_ID, status=is_text)),
    "response.output_item.added": RESPONSE_FIELDS | required_fields(item=IS_ITEM),
    "response.content_part.added": PART_FIELDS | required_fields(part=_has_fields(type=is_text)),
    "response.output_text.delta": PART_FIELDS | required_fields(delta=is_text),
    "response.output_text.done": PART_FIELDS | required_fields(text=is_text),
    "response.content_part.done": PART_FIELDS | required_fields(part=_has_fields(type=is_text)),
    "response.function_call_arguments.delta": CALL_FIELDS | required_fields(delta=is_text),
    "response.function_call_arguments.done": CALL_FIELDS | required_fields(arguments=is_text),
    "response.output_item.done": RESPONSE_FIELDS | required_fields(item=IS_ITEM),
    "response.done": required_fields(response=_has_fields(id=IS_ID, status=is_text, output=_is_list)),
    "error": required_fields(error=IS_ERROR),
}
UNCHECKED_EVENTS = (
    *("conversation.created", "conversation.item.created", "conversation.item.deleted"),
    *("conversation.item.retrieved", "rate_limits.updated"),
)
EVENT_TYPES: Mapping[str, FrameFields] = {
    **CHECKED_EVENTS,
    **{event_type: {} for event_type in UNCHECKED_EVENTS},
}
"""The events that a gateway may send to a client that uses text only."""

MissingAnswers: TypeAlias = Callable[[str], list[str] | None]
"""Returns a sentence for each missing answer to the client's events, by check; None if it had no event."""


def _find_missing_done(turn: RecordedTurn, script: CallScript) -> str | None:
    return "no response.done" if turn.texts and not turn.end_times else None


def _has_uninterrupted_answer(turn: RecordedTurn) -> bool:
    return is_uninterrupted(turn) and bool(turn.texts or turn.end_times)


def _has_cancelled_answer(turn: RecordedTurn) -> bool:
    """Was a response active when the client cancelled?"""
    stopped_at = turn.stopped_at
    return stopped_at is not None and not any(end < stopped_at for end in turn.end_times)


def _find_late_cancel(turn: RecordedTurn, script: CallScript) -> str | None:
    limit = script.patience.stop
    delay = min((end - (turn.stopped_at or 0.0) for end in turn.end_times), default=None)
    if delay is None:
        return "no response.done followed response.cancel"
    return f"response.done came {delay:.2f} s after response.cancel" if delay > limit else None


def _check_text(recording: Recording, script: CallScript) -> list[str] | None:
    return [] if any(turn.texts for turn in recording.turns) else None


SESSION_FIRST = "session.created comes first, and session.updated before the first response"
EVENTS = "every event is JSON text of a known type, with its fields and its own id"
CREATED = "a response begins with one response.created and ends with one response.done, completed"
ITEMS = "items and their parts are added and done in pairs, and counted from 0"
ERRORS = "a malformed event brings one error event, which names it"
TOOLS = "only offered tools are called, each with its own call_id and a JSON object"
NOT_TWICE = "a response.create during a response brings an error, and no second answer"


def build_checks(missing_answers: MissingAnswers) -> Sequence[Check]:
    """Return the checklist of one call."""

    def all_answered(item: str) -> CheckFunction:
        return lambda recording, script: missing_answers(item)

    has_actions = from_violations_if(lambda recording: any(turn.actions for turn in recording.turns))
    return (
        *COMMON,
        COMES_BACK,
        LATE_INTERRUPT,
        Check("session-first", SESSION_FIRST, all_answered("session-first")),
        Check("events", EVENTS, from_violations),
        Check("created-done", CREATED, check_turns(_find_missing_done, _has_uninterrupted_answer)),
        Check("items", ITEMS, _check_text),
        Check("deltas", "the deltas together are the text in all later events", _check_text),
        Check(
            "cancels",
            "after response.cancel the response is soon done, cancelled",
            check_turns(_find_late_cancel, _has_cancelled_answer),
        ),
        Check("truncates", "a truncated item is confirmed with the same fields", all_answered("truncates")),
        Check("errors", ERRORS, all_answered("errors")),
        Check("tools", TOOLS, has_actions),
        Check("not-twice", NOT_TWICE, all_answered("not-twice")),
    )
