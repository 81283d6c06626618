"""Each entry of Speech Engine's checklist finds the gateway that breaks it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tests.simulate.platforms.test_speech_engine import URL, ours, rehearsed, response
from tests.simulate.stage import Flaw, sound
from voicegw.simulate.platforms.speech_engine import SimulatedSpeechEngine
from voicegw.simulate.script import CallScript

Frame = dict[str, Any]


def is_final(frame: Frame, id: int) -> bool:
    return frame.get("event_id") == id and frame["is_final"]


def first_of(id: int, *before: str) -> Flaw:
    """These frames come before the first one with this number."""
    left = [*before]

    def flaw(frame: Frame) -> Iterator[Frame | str]:
        while left and frame.get("event_id") == id:
            yield left.pop(0)
        yield frame

    return flaw


def mute(frame: Frame) -> Iterator[Frame]:
    """The answer to the first transcript is empty."""
    if frame.get("event_id") != 1 or frame["is_final"]:
        yield frame


def endless(id: int) -> Flaw:
    """The answer with this number has no end."""
    return lambda frame: () if is_final(frame, id) else (frame,)


def starred(frame: Frame) -> Iterator[Frame]:
    yield {**frame, "content": f"**{frame['content']}**"} if frame.get("content") else frame


def oddity(frame: Frame) -> Iterator[Frame]:
    """After what makes no sense there are no words any more."""
    if frame.get("event_id") != 7 or frame["is_final"]:
        yield frame


def deaf(frame: Frame) -> Iterator[Frame]:
    if frame["type"] != "pong":
        yield frame


def slow_pong(frame: Frame) -> Iterator[Frame | float]:
    if frame["type"] == "pong":
        yield 0.3
    yield frame


def kind(frame: Frame) -> Iterator[Frame]:
    yield frame
    yield {"type": "status", "text": "thinking"}


def farewell(frame: Frame) -> Iterator[Frame]:
    """The final message has words."""
    yield {**frame, "content": "Bye."} if is_final(frame, 1) else frame


def two_ends(frame: Frame) -> Iterator[Frame]:
    yield from [frame] * (2 if is_final(frame, 1) else 1)


def once_more(frame: Frame) -> Iterator[Frame | str]:
    """A repeated transcript is answered after the answer."""
    yield frame
    if is_final(frame, 3):
        yield response("We are open.", 3)


def stutter(frame: Frame) -> Iterator[Frame | str]:
    """A repeated transcript begins the answer anew."""
    if frame.get("content") == "We are open" and frame["event_id"] == 3:
        yield response("Just a second... ", 3)
    yield frame


def tail(frame: Frame) -> Iterator[Frame | str]:
    """Words for the superseded transcript come 0.3 s after the newer one."""
    yield frame
    if frame.get("content") == "We are open" and frame["event_id"] == 5:
        yield response("late", 4)


def greeting(app: ASGIApp) -> ASGIApp:
    """Says something as soon as the call is there."""
    greeted = False

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        async def told(message: Message) -> None:
            nonlocal greeted
            await send(message)
            if message["type"] == "websocket.accept" and not greeted:
                greeted = True
                await send({"type": "websocket.send", "text": response("Good morning.", 0)})

        await app(scope, receive, told)

    return wrapped


def touchy(app: ASGIApp) -> ASGIApp:
    """Hangs up on what it does not know."""

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        async def heard() -> Message:
            message = await receive()
            if "weather" in message.get("text", ""):
                await send({"type": "websocket.close", "code": 1002})
                return {"type": "websocket.disconnect", "code": 1002}
            return message

        await app(scope, heard, send)

    return wrapped


def case(
    flaw: Flaw = sound, app: Callable[[], ASGIApp] = ours, also: tuple[str, ...] = (), **how: Any
) -> tuple[Flaw, Callable[[], ASGIApp], tuple[str, ...], dict[str, Any]]:
    return flaw, app, also, how


FLAWS: dict[str, Any] = {
    "connects": case(url=URL + "/x"),
    "refuses": case(secret="sk_1", proof=True),  # a gateway without a key
    "answers": case(mute, also=("first-words",)),
    "answers without an end": case(endless(1), also=("one-final", "silence")),
    "first-words": case(app=lambda: ours(1.1, "We are open.", after="off")),
    "silence": case(app=lambda: ours("We are open", 8.1, " today.")),
    "speakable": case(starred),
    "nonsense": case(oddity, also=("answers", "first-words")),
    "nonsense, and it hangs up": case(
        app=lambda: touchy(ours()), also=("answers", "first-words"), failure="1002"
    ),
    "pong": case(deaf),
    "pong too late": case(slow_pong),
    "comes-back": case(
        endless(6), also=("answers", "one-final", "silence"), failure="not answered within 60 s"
    ),
    "speaks-when-asked": case(app=lambda: greeting(ours())),
    "frames": case(kind),
    "frames, and numbers": case(first_of(1, response("Hm.", 2))),
    "one-final": case(farewell),
    "one-final, twice": case(two_ends),
    "one-final, and more": case(first_of(2, response("Hm.", 1))),
    "no-final-superseded": case(first_of(5, response("", 4, True))),
    "old-events": case(tail),
    "not-twice": case(once_more),
    "not-twice, anew": case(stutter),
}


def test_every_entry_has_a_gateway_that_breaks_it() -> None:
    items = [check.item for check in SimulatedSpeechEngine.checks]
    assert {name.split(",")[0].split(" ")[0] for name in FLAWS} == set(items)
    assert len(set(items)) == len(items)


@pytest.mark.parametrize("name", FLAWS)
async def test_a_flaw_breaks_its_entry_and_no_other(name: str) -> None:
    flaw, app, also, how = FLAWS[name]
    failure = how.pop("failure", "")
    tape, found = await rehearsed(app(), flaw, **how)
    broken = {verdict.item: verdict.violations for verdict in found if verdict.state == "broken"}
    assert broken.keys() == {name.split(",")[0].split(" ")[0], *also}
    assert failure in tape.failure


async def test_a_flaw_is_told_in_numbers() -> None:
    async def breaches(flaw: Flaw, item: str) -> list[str]:
        _, found = await rehearsed(ours(), flaw)
        return [breach for verdict in found if verdict.item == item for breach in verdict.violations]

    assert await breaches(tail, "old-events") == [
        "turn 4: words still came 0.30 s after the next transcript, later than 0.25 s"
    ]
    assert await breaches(endless(1), "one-final") == ["turn 1: no final message"]
    assert await breaches(farewell, "one-final") == ["turn 1: a final message with 4 characters of content"]
    assert await breaches(two_ends, "one-final") == ["turn 1: a second final message with event_id 1"]
    assert await breaches(once_more, "not-twice") == ["turn 3: a message after the final one with event_id 3"]
    assert await breaches(stutter, "not-twice") == ["turn 3: event_id 3: 'Just a second...' came twice"]
    assert await breaches(first_of(5, response("", 4, True)), "no-final-superseded") == [
        "turn 5: a final message with event_id 4, when 5 was the newest"
    ]


async def test_words_of_an_interrupted_answer_and_words_in_flight_are_no_breach() -> None:
    """Until the next transcript comes they are only not played; after it they may be under way."""
    told = CallScript.model_validate({"turns": [{"say": "Hello?", "interrupt": 0.1}, {"say": "Stop."}]})
    ended = ours("We are open.", after="off")
    tape, found = await rehearsed(ended, first_of(2, response("late", 1)), told=told)
    assert [verdict.item for verdict in found if verdict.state == "broken"] == ["one-final"]
    tape, found = await rehearsed(
        ours("Well", 0.2, " then", 0.5, " yes."), first_of(2, response("late", 1)), told=told
    )
    assert [verdict.item for verdict in found if verdict.state == "broken"] == []
    assert [text for _, text in tape.turns[0].late_texts] == ["late"]


async def test_what_the_script_gave_no_occasion_for_was_not_tried() -> None:
    told = CallScript.model_validate({"turns": [{"say": "Hello?"}]})
    _, found = await rehearsed(ours(), told=told)
    assert [verdict.item for verdict in found if verdict.state == "not tried"] == [
        *("refuses", "nonsense", "comes-back", "no-final-superseded", "old-events", "not-twice")
    ]
