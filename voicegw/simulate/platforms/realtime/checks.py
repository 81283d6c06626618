"""What a client of OpenAI's realtime protocol needs beyond what every platform does. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from voicegw.simulate.checks import COMES_BACK, COMMON, Check, Judge, each, occasion, reading, whole
from voicegw.simulate.frame_schema import Fields, Fits, count, matching, needs, table, takes, text
from voicegw.simulate.recording import Tape, Taped
from voicegw.simulate.script import Script


def _perhaps(value: object) -> bool:
    return value is None or isinstance(value, str)


def _having(**fields: Fits) -> Fits:
    """An object with these fields, among others."""
    return lambda value: (
        isinstance(value, dict) and all(name in value and fits(value[name]) for name, fits in fields.items())
    )


def _list(value: object) -> bool:
    return isinstance(value, list)


ID = matching(r"(?s).+")
ITEM = _having(id=ID, type=text)
OURS = needs(response_id=ID, output_index=count)
PLACE = OURS | needs(item_id=ID, content_index=count)
CALL = OURS | needs(item_id=ID, call_id=ID)
ERROR = _having(type=text, message=text)
READ: Mapping[str, Fields] = {
    "session.created": needs(session=table),
    "session.updated": needs(session=table),
    "conversation.item.added": needs(item=ITEM) | takes(previous_item_id=_perhaps),
    "conversation.item.done": needs(item=ITEM) | takes(previous_item_id=_perhaps),
    "conversation.item.truncated": needs(item_id=ID, content_index=count, audio_end_ms=count),
    "response.created": needs(response=_having(id=ID, status=text)),
    "response.output_item.added": OURS | needs(item=ITEM),
    "response.content_part.added": PLACE | needs(part=_having(type=text)),
    "response.output_text.delta": PLACE | needs(delta=text),
    "response.output_text.done": PLACE | needs(text=text),
    "response.content_part.done": PLACE | needs(part=_having(type=text)),
    "response.function_call_arguments.delta": CALL | needs(delta=text),
    "response.function_call_arguments.done": CALL | needs(arguments=text),
    "response.output_item.done": OURS | needs(item=ITEM),
    "response.done": needs(response=_having(id=ID, status=text, output=_list)),
    "error": needs(error=ERROR),
}
KNOWN = (
    *("conversation.created", "conversation.item.created", "conversation.item.deleted"),
    *("conversation.item.retrieved", "rate_limits.updated"),
)
KINDS: Mapping[str, Fields] = {**READ, **{kind: {} for kind in KNOWN}}
"""What a gateway may send to somebody who neither speaks nor listens."""

Owed: TypeAlias = Callable[[str], list[str] | None]
"""What of an entry is still owed at the end: answers to events of ours; None if none ever was."""


def _done(turn: Taped, script: Script) -> str | None:
    return "no response.done" if turn.words and not turn.ends else None


def _running(turn: Taped) -> bool:
    """Was there something to cancel?"""
    stopped = turn.stopped
    return stopped is not None and not any(end < stopped for end in turn.ends)


def _cancelled(turn: Taped, script: Script) -> str | None:
    most = script.patience.stop
    after = min((end - (turn.stopped or 0.0) for end in turn.ends), default=None)
    if after is None:
        return "no response.done followed response.cancel"
    return f"response.done came {after:.2f} s after response.cancel" if after > most else None


SESSION_FIRST = "session.created comes first, and session.updated before the first response"
EVENTS = "every event is a JSON text of a known type, with its fields and an id of its own"
CREATED = "a response begins with one response.created and ends with one response.done, completed"


def checks(owed: Owed) -> Sequence[Check]:
    """The checklist of one call."""

    def answered(item: str) -> Judge:
        return lambda tape, script: owed(item)

    return (
        *COMMON,
        COMES_BACK,
        Check("session-first", SESSION_FIRST, answered("session-first")),
        Check("events", EVENTS, reading),
        Check(
            "created-done", CREATED, each(_done, lambda turn: whole(turn) and bool(turn.words or turn.ends))
        ),
        Check("items", "items and their parts are added and done in pairs, and counted from 0", _speaking),
        Check("deltas", "the deltas together are the text, wherever that is told again", _speaking),
        Check(
            "cancels",
            "after response.cancel the response is soon done, cancelled",
            each(_cancelled, _running),
        ),
        Check("truncates", "a truncated item is confirmed with the same fields", answered("truncates")),
        Check("errors", "what makes no sense brings one error event, which names ours", answered("errors")),
        Check(
            "tools",
            "only offered tools are called, each under its own call_id and with a JSON object",
            occasion(lambda tape: any(turn.acted for turn in tape.turns)),
        ),
        Check(
            "not-twice",
            "a response.create while a response is being made brings an error, and no second answer",
            answered("not-twice"),
        ),
    )


def _speaking(tape: Tape, script: Script) -> list[str] | None:
    return [] if any(turn.words for turn in tape.turns) else None
