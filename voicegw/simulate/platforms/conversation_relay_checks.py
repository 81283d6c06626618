"""What ConversationRelay needs beyond what every platform does. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

from voicegw.simulate.checks import (
    COMES_BACK,
    COMMON,
    REFUSES,
    Check,
    dropped,
    each,
    occasion,
    reading,
    whole,
)
from voicegw.simulate.frame_schema import Fields, count, flag, matching, misfit, needs, takes, text
from voicegw.simulate.recording import Tape, Taped
from voicegw.simulate.script import Script

CYCLE = takes(interruptible=flag, preemptible=flag)
BOTH: Mapping[str, Fields] = {
    "text": needs(token=text) | takes(last=flag, lang=text) | CYCLE,
    "play": needs(source=matching(r"https?://\S+")) | takes(loop=count) | CYCLE,
    "sendDigits": needs(digits=matching(r"[0-9w#*]+")),
    "language": takes(ttsLanguage=text, transcriptionLanguage=text),
    "end": takes(handoffData=text),
}
Flavour: TypeAlias = Literal["twilio", "telnyx"]
"""Whose ConversationRelay: they name a call and its fields differently."""
KINDS: Mapping[Flavour, Mapping[str, Fields]] = {
    "twilio": {**BOTH, "config": {}, "hints": {}},  # whose fields are not documented
    "telnyx": BOTH,
}
"""What a gateway may send."""


def odd(frame: Mapping[str, Any], flavour: Flavour) -> str | None:
    """Why the platform does not take this frame; None if it does."""
    kind = frame.get("type")
    if kind == "language" and not frame.keys() & BOTH["language"].keys():
        return "language without a language"
    return misfit(frame, kind, KINDS[flavour])


def _newer(tape: Tape, script: Script) -> list[str] | None:
    """Was every question answered that came over the answer to another?"""
    cut = (older.step.next is not None and older.stopped is not None for older in tape.turns)
    newer = [numbered for over, numbered in zip(cut, tape.numbered[1:], strict=False) if over]
    mute = (number for number, turn in newer if whole(turn) and not turn.ends)
    return [f"turn {number}: no answer" for number in mute] if newer else None


def _endless(turn: Taped) -> bool:
    """Did words come, and nothing that ended them for as long as the platform waited?"""
    return whole(turn) and bool(turn.words) and not (turn.ends or turn.why or turn.lost)


def _last(turn: Taped, script: Script) -> str | None:
    return "no token says that it is the last" if _endless(turn) else None


FRAMES = Check(
    "frames", "every frame is a JSON text that the platform takes, its fields of the right types", reading
)
ONE_LAST = Check(
    "one-last",
    "an answer ends with exactly one token that says it is the last",
    each(_last, lambda turn: bool(turn.ends) or _endless(turn)),
)
PARTIAL = Check(
    "partial",
    "words that may still change are not answered",
    occasion(lambda tape: any(turn.step.partial for turn in tape.turns)),
)
SUPERSEDED = Check("superseded", "of two questions in a row only the newer one is answered", _newer)
ENDS_LAST = Check(
    "ends-last",
    "the call is ended after the last token, and nothing follows",
    occasion(lambda tape: tape.over),
)
NOT_TWICE = Check(
    "not-twice",
    "a question that the platform repeats after a lost connection is answered once",
    occasion(lambda tape: any(map(dropped, tape.turns))),
)
TELNYX = (
    *(check for check in COMMON if check is not REFUSES),  # it proves nothing itself
    FRAMES,
    ONE_LAST,
    PARTIAL,
    SUPERSEDED,
    ENDS_LAST,
    COMES_BACK,
    NOT_TWICE,
)
CHECKS: Mapping[Flavour, Sequence[Check]] = {"twilio": (REFUSES, *TELNYX), "telnyx": TELNYX}
