"""The tape of a call that is a series of requests, and what every platform of that kind needs. Pure."""

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
    Judge,
)
from voicegw.simulate.recording import ENDS, Acted, Tape
from voicegw.simulate.script import Script

TAIL = 0.25
"""Seconds within which a body ends after `[DONE]`, for its connection to be used again."""
PAUSE = 0.5
"""Seconds of silence after which the first words are on their own."""
CLAUSE = 4
"""Characters that a clause has at least; "U." is none."""

NAMES = ("first", "second")


@dataclass(slots=True)
class Streamed:
    """One request and its answer. `label` names it in verdicts: "turn 2", for example.

    `done` is when the end was made known, `end` when the body ended, `left` when the platform had done
    with it; `whole` if it was not the platform that hung up. `failure` tells what became of the connection,
    `body` is the beginning of what came with a refusal.
    """

    label: str
    asked: float
    status: int | None = None
    media: str = ""
    first: float | None = None
    said: list[tuple[float, str]] = field(default_factory=list)
    acted: list[tuple[float, Acted]] = field(default_factory=list)
    done: float | None = None
    end: float | None = None
    left: float | None = None
    whole: bool = False
    failure: str = ""
    body: str = ""

    @property
    def why(self) -> str:
        """What became of it, if it did not come to its end."""
        if self.failure:
            return f"{self.failure}{' in mid-answer' if self.said else ''}"
        if self.status != 200:
            return f"status {self.status}"
        return "the stream ended without an end of the answer"

    @property
    def began(self) -> bool:
        """Did an event of an answer come?"""
        return bool(self.status == 200 and (self.said or self.acted or self.done is not None))

    @property
    def text(self) -> str:
        return "".join(text for _, text in self.said)

    @property
    def calls(self) -> list[Acted]:
        return [act for _, act in self.acted]

    @property
    def well(self) -> bool:
        """Did it come to its end?"""
        return self.status == 200 and self.done is not None


@dataclass(slots=True)
class Exchanged(Tape):
    """A whole call by requests.

    `streams` are all answers, `twins` pairs of those to identical requests; `probed` is what single requests
    beside the call found wrong, by the entry of the checklist, "" if nothing.
    """

    streams: list[Streamed] = field(default_factory=list)
    twins: list[tuple[Streamed, Streamed]] = field(default_factory=list)
    probed: dict[str, str] = field(default_factory=dict)


def streams(judge: Callable[[Streamed], str | None], which: Callable[[Streamed], bool]) -> Judge:
    """A judge of answers: one sentence for each that is broken; no occasion if there is no such answer."""

    def judged(tape: Tape, script: Script) -> list[str] | None:
        assert isinstance(tape, Exchanged)
        found = [stream for stream in tape.streams if which(stream)]
        if not found:
            return None
        said = ((stream.label, judge(stream)) for stream in found)
        return [f"{label}: {why}" for label, why in said if why]

    return judged


def probe(item: str) -> Judge:
    """A judge of what a request beside the call found."""

    def judged(tape: Tape, script: Script) -> list[str] | None:
        assert isinstance(tape, Exchanged)
        why = tape.probed.get(item)
        return None if why is None else [why] if why else []

    return judged


def begins_within(seconds: float) -> Judge:
    """A judge of how long a platform waits for the first words or tool call of each answer."""

    def waited(stream: Streamed) -> float:
        until = stream.left if stream.first is None else stream.first
        return 0.0 if until is None else until - stream.asked

    def slow(stream: Streamed) -> str | None:
        wait = waited(stream)
        return f"nothing for {wait:.2f} s; the platform waits {seconds:g} s" if wait > seconds else None

    return streams(slow, lambda stream: stream.first is not None or waited(stream) > seconds)


def answered(stream: Streamed) -> bool:
    """Was it left to its end, and taken at first?"""
    return stream.whole and stream.status == 200


def alone(stream: Streamed) -> tuple[str, str, float] | None:
    """First words that stood alone before more followed: they, what followed, and seconds between."""
    spoken = list(_pieces(stream))
    if len(spoken) < 2:
        return None
    (at, first), (then, more) = spoken[:2]
    clause = first.rstrip().endswith(ENDS) and len(first.strip()) >= CLAUSE
    return (first, more, then - at) if clause or then - at >= PAUSE else None


def _pieces(stream: Streamed) -> Iterator[tuple[float, str]]:
    """The words as they came, blank ones joined to their neighbours."""
    held: tuple[float, str] | None = None
    for at, text in stream.said:
        if held is None or held[1].isspace():
            held = (at, text if held is None else held[1] + text)
        elif text.isspace():
            held = (held[0], held[1] + text)
        else:
            yield held
            held = (at, text)
    if held is not None:
        yield held


def _status(stream: Streamed) -> str | None:
    if stream.status is None:
        return stream.failure or "no answer"
    if stream.status != 200:
        return f"status {stream.status}"
    plain = stream.media.partition(";")[0].strip().lower()
    return None if plain == "text/event-stream" else f"content-type {plain[:60]!r}"


def _done(stream: Streamed) -> str | None:
    if stream.failure:
        return f"{'after' if stream.done is not None else 'before'} [DONE]: {stream.failure}"
    late = stream.done is not None and stream.end is None
    return f"the body did not end within {TAIL:g} s after [DONE]" if late else None


def _nothing(stream: Streamed) -> None:
    """It was judged while it was read."""


_events = streams(_nothing, lambda stream: stream.began)
_ended = streams(_nothing, lambda stream: stream.began and stream.whole and not stream.failure)
_acted = streams(_nothing, lambda stream: bool(stream.acted))


def _filled(stream: Streamed) -> str | None:
    return "neither words nor a tool call" if stream.first is None and not stream.failure else None


def _twice(tape: Tape, script: Script) -> list[str] | None:
    assert isinstance(tape, Exchanged)
    if not tape.twins:
        return None
    named = [(name, stream) for pair in tape.twins for name, stream in zip(NAMES, pair, strict=True)]
    return [
        f"{stream.label}: the {name} of two identical requests got no whole answer"
        for name, stream in named
        if not (stream.well and stream.first is not None)
    ]


def _comes_back(tape: Tape, script: Script) -> list[str] | None:
    return COMES_BACK.judge(tape, script) if any(turn.lost is not None for turn in tape.turns) else None


STATUS = Check(
    "status",
    "every request is answered with status 200 and an event stream",
    streams(_status, lambda stream: stream.status is not None or bool(stream.failure)),
)
LINES = Check("lines", "an event is one data: line and a blank line, and all else a comment", _events)
CHUNKS = Check("chunks", "every event is a chunk with all its fields, the same id throughout", _events)
FINISH = Check("finish", "one last chunk has a finish_reason that is true", _ended)
DONE = Check("done", "[DONE] comes last, and the body ends with it", streams(_done, answered))
NOT_EMPTY = Check("not-empty", "no answer is empty, or it is asked for again", streams(_filled, answered))
TOOLS = Check("tools", "only offered tools are called, each whole and with valid arguments", _acted)
WRONG_KEY = Check(
    "wrong-key", "a wrong key is refused with status 401 and an error object", probe("wrong-key")
)
UNKNOWN_KEYS = Check(
    "unknown-keys", "fields that nobody knows and odd forms of messages do no harm", NONSENSE.judge
)
TWICE = Check("twice", "the same request, sent twice, gets two whole answers", _twice)
BACK = Check("comes-back", "after a lost connection the same request is answered", _comes_back)
CHAT = (
    *(CONNECTS, WRONG_KEY, ANSWERS, FIRST_WORDS, SILENCE, SPEAKABLE, STATUS, LINES, CHUNKS, FINISH, DONE),
    *(NOT_EMPTY, TOOLS, UNKNOWN_KEYS, TWICE, BACK),
)
"""What every platform needs that asks for chat completions."""
