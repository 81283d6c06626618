"""The recording of a call by HTTP requests, and the checks that all platforms of that kind share. Pure.

Checks that platforms with a websocket share as well are in `voicegw.simulate.checks`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from voicegw.simulate.checks import (
    ANSWERS,
    COMES_BACK,
    CONNECTS,
    FIRST_WORDS,
    NONSENSE,
    SILENCE,
    SPEAKABLE,
    Check,
    CheckFunction,
)
from voicegw.simulate.recording import CLAUSE_ENDS, ActionSeen, Recording
from voicegw.simulate.script import CallScript

MAX_BODY_TAIL = 0.25
"""Seconds from `[DONE]` to the end of the body: clients wait this long to use the connection again."""
MIN_PAUSE = 0.5
"""Seconds of silence that separate the first words from the rest of the answer."""
MIN_CLAUSE_CHARS = 4
"""Characters of a clause; "U." is none."""

DUPLICATE_NAMES = ("first", "second")


@dataclass(slots=True)
class RecordedStream:
    """One request and its answer. Times are in seconds since the call began."""

    label: str
    """Its name in violations: "turn 2", for example."""
    asked_at: float
    """When the request was sent."""
    status: int | None = None
    """The status of the response; None before it."""
    content_type: str = ""
    """The header `Content-Type` of the response."""
    first_output_at: float | None = None
    """When the first text or tool call arrived."""
    texts: list[tuple[float, str]] = field(default_factory=list)
    """(time, text) of each piece of text."""
    actions: list[tuple[float, ActionSeen]] = field(default_factory=list)
    """(time, tool call) of each tool call."""
    done_at: float | None = None
    """When the stream marked its end, by `[DONE]` or a finish_reason."""
    body_ended_at: float | None = None
    """When the body ended; None if it did not."""
    left_at: float | None = None
    """When the platform stopped reading it."""
    was_read_to_end: bool = False
    """False if the platform closed the connection before the end."""
    failure: str = ""
    """The error of the connection, "" without one."""
    refusal_body: str = ""
    """The beginning of the body of a refusal."""

    @property
    def failure_reason(self) -> str:
        """The reason why it is not complete."""
        if self.failure:
            return f"{self.failure}{' in mid-answer' if self.texts else ''}"
        if self.status != 200:
            return f"status {self.status}"
        return "the stream ended without an end of the answer"

    @property
    def has_started(self) -> bool:
        """Did any event of an answer arrive?"""
        return bool(self.status == 200 and (self.texts or self.actions or self.done_at is not None))

    @property
    def text(self) -> str:
        """The whole text of the answer."""
        return "".join(text for _, text in self.texts)

    @property
    def tool_calls(self) -> list[ActionSeen]:
        """The tool calls, in order."""
        return [action for _, action in self.actions]

    @property
    def is_complete(self) -> bool:
        """Did the answer come to its end?"""
        return self.status == 200 and self.done_at is not None


@dataclass(slots=True)
class HttpRecording(Recording):
    """A whole call by HTTP requests."""

    streams: list[RecordedStream] = field(default_factory=list)
    """All requests and their answers."""
    duplicate_streams: list[tuple[RecordedStream, RecordedStream]] = field(default_factory=list)
    """Pairs of answers to identical requests."""
    probe_results: dict[str, str] = field(default_factory=dict)
    """The flaw that each probe found, by the name of its check; "" for none."""


def check_streams(
    find_flaw: Callable[[RecordedStream], str | None], applies: Callable[[RecordedStream], bool]
) -> CheckFunction:
    """Return a check of each answer that `applies` accepts; without such an answer it is not tried."""

    def evaluate(recording: Recording, script: CallScript) -> list[str] | None:
        assert isinstance(recording, HttpRecording)
        streams = [stream for stream in recording.streams if applies(stream)]
        if not streams:
            return None
        flaws = ((stream.label, find_flaw(stream)) for stream in streams)
        return [f"{label}: {flaw}" for label, flaw in flaws if flaw]

    return evaluate


def from_probe(item: str) -> CheckFunction:
    """Return a check of the result of the probe `item`."""

    def evaluate(recording: Recording, script: CallScript) -> list[str] | None:
        assert isinstance(recording, HttpRecording)
        flaw = recording.probe_results.get(item)
        return None if flaw is None else [flaw] if flaw else []

    return evaluate


def begins_within(seconds: float) -> CheckFunction:
    """Return a check of the delay of each answer's first text or tool call; the platform waits `seconds`."""

    def delay(stream: RecordedStream) -> float:
        end = stream.left_at if stream.first_output_at is None else stream.first_output_at
        return 0.0 if end is None else end - stream.asked_at

    def find_delay(stream: RecordedStream) -> str | None:
        if delay(stream) <= seconds:
            return None
        return f"nothing for {delay(stream):.2f} s; the platform waits {seconds:g} s"

    return check_streams(
        find_delay, lambda stream: stream.first_output_at is not None or delay(stream) > seconds
    )


def is_answered(stream: RecordedStream) -> bool:
    """Was the request accepted, and its answer read to the end?"""
    return stream.was_read_to_end and stream.status == 200


def split_first_words(stream: RecordedStream) -> tuple[str, str, float] | None:
    """Return the first words, the words after them, and the seconds between them.

    Returns None if the first words are no clause and no pause separates them from the rest.
    """
    texts = list(_join_blank_texts(stream))
    if len(texts) < 2:
        return None
    (at, first), (then, more) = texts[:2]
    is_clause = first.rstrip().endswith(CLAUSE_ENDS) and len(first.strip()) >= MIN_CLAUSE_CHARS
    return (first, more, then - at) if is_clause or then - at >= MIN_PAUSE else None


def _join_blank_texts(stream: RecordedStream) -> Iterator[tuple[float, str]]:
    """Yield the texts as they arrived, with blank ones joined to their neighbours."""
    held: tuple[float, str] | None = None
    for at, text in stream.texts:
        if held is None or held[1].isspace():
            held = (at, text if held is None else held[1] + text)
        elif text.isspace():
            held = (held[0], held[1] + text)
        else:
            yield held
            held = (at, text)
    if held is not None:
        yield held


def _find_wrong_status(stream: RecordedStream) -> str | None:
    if stream.status is None:
        return stream.failure or "no answer"
    if stream.status != 200:
        return f"status {stream.status}"
    media_type = stream.content_type.partition(";")[0].strip().lower()
    return None if media_type == "text/event-stream" else f"content-type {media_type[:60]!r}"


def _find_wrong_end(stream: RecordedStream) -> str | None:
    if stream.failure:
        return f"{'after' if stream.done_at is not None else 'before'} [DONE]: {stream.failure}"
    is_late = stream.done_at is not None and stream.body_ended_at is None
    return f"the body did not end within {MAX_BODY_TAIL:g} s after [DONE]" if is_late else None


def _find_nothing(stream: RecordedStream) -> None:
    """Find no flaw: the violations were found while the stream was read."""


_check_events = check_streams(_find_nothing, lambda stream: stream.has_started)
_check_finish = check_streams(
    _find_nothing, lambda stream: stream.has_started and stream.was_read_to_end and not stream.failure
)
_check_tools = check_streams(_find_nothing, lambda stream: bool(stream.actions))


def _find_empty_answer(stream: RecordedStream) -> str | None:
    is_empty = stream.first_output_at is None and not stream.failure
    return "neither text nor a tool call" if is_empty else None


def _check_duplicates(recording: Recording, script: CallScript) -> list[str] | None:
    assert isinstance(recording, HttpRecording)
    if not recording.duplicate_streams:
        return None
    named = [
        (name, stream)
        for pair in recording.duplicate_streams
        for name, stream in zip(DUPLICATE_NAMES, pair, strict=True)
    ]
    return [
        f"{stream.label}: the {name} of two identical requests got no complete answer"
        for name, stream in named
        if not (stream.is_complete and stream.first_output_at is not None)
    ]


def _check_reconnects(recording: Recording, script: CallScript) -> list[str] | None:
    has_lost = any(turn.lost_at is not None for turn in recording.turns)
    return COMES_BACK.evaluate(recording, script) if has_lost else None


STATUS = Check(
    "status",
    "every request is answered with status 200 and an event stream",
    check_streams(_find_wrong_status, lambda stream: stream.status is not None or bool(stream.failure)),
)
LINES = Check(
    "lines", "an event is one data: line and a blank line; all other lines are comments", _check_events
)
CHUNKS = Check("chunks", "every event is a chunk with all its fields and the same id", _check_events)
FINISH = Check("finish", "exactly one chunk has a finish_reason, and it is correct", _check_finish)
DONE = Check(
    "done", "[DONE] is the last event, and the body ends with it", check_streams(_find_wrong_end, is_answered)
)
NOT_EMPTY = Check(
    "not-empty",
    "every answer has text or a tool call, or the platform sends the request again",
    check_streams(_find_empty_answer, is_answered),
)
TOOLS = Check("tools", "only offered tools are called, each complete and with valid arguments", _check_tools)
WRONG_KEY = Check(
    "wrong-key", "a wrong key is refused with status 401 and an error object", from_probe("wrong-key")
)
UNKNOWN_KEYS = Check(
    "unknown-keys", "unknown fields and rare forms of messages do no harm", NONSENSE.evaluate
)
TWICE = Check("twice", "two identical requests at once get two complete answers", _check_duplicates)
HTTP_COMES_BACK = Check(
    "comes-back", "after a lost connection the same request is answered", _check_reconnects
)
CHAT = (
    *(CONNECTS, WRONG_KEY, ANSWERS, FIRST_WORDS, SILENCE, SPEAKABLE, STATUS, LINES, CHUNKS, FINISH, DONE),
    *(NOT_EMPTY, TOOLS, UNKNOWN_KEYS, TWICE, HTTP_COMES_BACK),
)
"""The checks that all platforms with chat completions share."""
