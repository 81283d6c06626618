"""The checks of the Speech Engine: each flaw breaks its own check."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tests.simulate.asgi_websocket import Flaw, unchanged
from tests.simulate.platforms.test_speech_engine import URL, our_gateway, response_frame, run_call
from voicegw.simulate.platforms.speech_engine import SimulatedSpeechEngine
from voicegw.simulate.script import CallScript

Frame = dict[str, Any]


def is_final(frame: Frame, id: int) -> bool:
    return frame.get("event_id") == id and frame["is_final"]


def insert_before(id: int, *before: str) -> Flaw:
    """Insert these frames before the first one with this event_id."""
    left = [*before]

    def flaw(frame: Frame) -> Iterator[Frame | str]:
        while left and frame.get("event_id") == id:
            yield left.pop(0)
        yield frame

    return flaw


def remove_text(frame: Frame) -> Iterator[Frame]:
    """Remove the text of the answer to the first transcript."""
    if frame.get("event_id") != 1 or frame["is_final"]:
        yield frame


def remove_final(id: int) -> Flaw:
    """Remove the final message of the answer with this event_id."""
    return lambda frame: () if is_final(frame, id) else (frame,)


def add_markup(frame: Frame) -> Iterator[Frame]:
    yield {**frame, "content": f"**{frame['content']}**"} if frame.get("content") else frame


def remove_text_after_malformed(frame: Frame) -> Iterator[Frame]:
    """Remove the text of the answer after malformed frames."""
    if frame.get("event_id") != 7 or frame["is_final"]:
        yield frame


def remove_pongs(frame: Frame) -> Iterator[Frame]:
    if frame["type"] != "pong":
        yield frame


def delay_pongs(frame: Frame) -> Iterator[Frame | float]:
    if frame["type"] == "pong":
        yield 0.3
    yield frame


def add_unknown_type(frame: Frame) -> Iterator[Frame]:
    yield frame
    yield {"type": "status", "text": "thinking"}


def add_text_to_final(frame: Frame) -> Iterator[Frame]:
    """Add text to the final message."""
    yield {**frame, "content": "Bye."} if is_final(frame, 1) else frame


def repeat_final(frame: Frame) -> Iterator[Frame]:
    yield from [frame] * (2 if is_final(frame, 1) else 1)


def answer_after_final(frame: Frame) -> Iterator[Frame | str]:
    """Answer a repeated transcript after the final message."""
    yield frame
    if is_final(frame, 3):
        yield response_frame("We are open.", 3)


def restart_answer(frame: Frame) -> Iterator[Frame | str]:
    """Start the answer to a repeated transcript again."""
    if frame.get("content") == "We are open" and frame["event_id"] == 3:
        yield response_frame("Just a second... ", 3)
    yield frame


def add_late_text(frame: Frame) -> Iterator[Frame | str]:
    """Add text for the superseded transcript, 0.3 s after the newer one."""
    yield frame
    if frame.get("content") == "We are open" and frame["event_id"] == 5:
        yield response_frame("late", 4)


def greet_on_accept(app: ASGIApp) -> ASGIApp:
    """Send a response as soon as the socket is accepted."""
    greeted = False

    async def flawed_app(scope: Scope, receive: Receive, send: Send) -> None:
        async def script(message: Message) -> None:
            nonlocal greeted
            await send(message)
            if message["type"] == "websocket.accept" and not greeted:
                greeted = True
                await send({"type": "websocket.send", "text": response_frame("Good morning.", 0)})

        await app(scope, receive, script)

    return flawed_app


def close_on_malformed(app: ASGIApp) -> ASGIApp:
    """Close the connection after a frame of unknown type."""

    async def flawed_app(scope: Scope, receive: Receive, send: Send) -> None:
        async def receive_changed() -> Message:
            message = await receive()
            if "weather" in message.get("text", ""):
                await send({"type": "websocket.close", "code": 1002})
                return {"type": "websocket.disconnect", "code": 1002}
            return message

        await app(scope, receive_changed, send)

    return flawed_app


def case(
    flaw: Flaw = unchanged,
    app: Callable[[], ASGIApp] = our_gateway,
    side_effects: tuple[str, ...] = (),
    **options: Any,
) -> tuple[Flaw, Callable[[], ASGIApp], tuple[str, ...], dict[str, Any]]:
    return flaw, app, side_effects, options


FLAWS: dict[str, Any] = {
    "connects": case(url=URL + "/x"),
    "refuses": case(secret="sk_1", try_forged=True),  # a gateway without a key
    "answers": case(remove_text, side_effects=("first-words",)),
    "answers without an end": case(remove_final(1), side_effects=("one-final", "silence")),
    "first-words": case(app=lambda: our_gateway(1.1, "We are open.", after="off")),
    "silence": case(app=lambda: our_gateway("We are open", 8.1, " today.")),
    "speakable": case(add_markup),
    "nonsense": case(remove_text_after_malformed, side_effects=("answers", "first-words")),
    "nonsense, and it hangs up": case(
        app=lambda: close_on_malformed(our_gateway()), side_effects=("answers", "first-words"), failure="1002"
    ),
    "pong": case(remove_pongs),
    "pong too late": case(delay_pongs),
    "comes-back": case(
        remove_final(6), side_effects=("answers", "one-final", "silence"), failure="not answered within 60 s"
    ),
    "speaks-when-asked": case(app=lambda: greet_on_accept(our_gateway())),
    "frames": case(add_unknown_type),
    "frames, and numbers": case(insert_before(1, response_frame("Hm.", 2))),
    "one-final": case(add_text_to_final),
    "one-final, twice": case(repeat_final),
    "one-final, and more": case(insert_before(2, response_frame("Hm.", 1))),
    "no-final-superseded": case(insert_before(5, response_frame("", 4, True))),
    "old-events": case(add_late_text),
    "not-twice": case(answer_after_final),
    "not-twice, anew": case(restart_answer),
}


def test_every_check_has_a_flaw_that_breaks_it() -> None:
    items = [check.item for check in SimulatedSpeechEngine.checks]
    assert {name.split(",")[0].split(" ")[0] for name in FLAWS} == set(items)
    assert len(set(items)) == len(items)


@pytest.mark.parametrize("name", FLAWS)
async def test_flaw_breaks_its_check_and_no_other(name: str) -> None:
    flaw, app, side_effects, options = FLAWS[name]
    failure = options.pop("failure", "")
    recording, found = await run_call(app(), flaw, **options)
    broken = {result.item: result.violations for result in found if result.state == "broken"}
    assert broken.keys() == {name.split(",")[0].split(" ")[0], *side_effects}
    assert failure in recording.failure


async def test_violations_have_numbers() -> None:
    async def breaches(flaw: Flaw, item: str) -> list[str]:
        _, found = await run_call(our_gateway(), flaw)
        return [breach for result in found if result.item == item for breach in result.violations]

    assert await breaches(add_late_text, "old-events") == [
        "turn 4: words still came 0.30 s after the next transcript, later than 0.25 s"
    ]
    assert await breaches(remove_final(1), "one-final") == ["turn 1: no final message"]
    assert await breaches(add_text_to_final, "one-final") == [
        "turn 1: a final message with 4 characters of content"
    ]
    assert await breaches(repeat_final, "one-final") == ["turn 1: a second final message with event_id 1"]
    assert await breaches(answer_after_final, "not-twice") == [
        "turn 3: a message after the final one with event_id 3"
    ]
    assert await breaches(restart_answer, "not-twice") == [
        "turn 3: event_id 3: 'Just a second...' came twice"
    ]
    assert await breaches(insert_before(5, response_frame("", 4, True)), "no-final-superseded") == [
        "turn 5: a final message with event_id 4, when 5 was the newest"
    ]


async def test_text_after_an_interruption_and_text_in_flight_are_no_violation() -> None:
    """Before the next transcript such text is not played; after it the text may be in flight."""
    script = CallScript.model_validate({"turns": [{"say": "Hello?", "interrupt": 0.1}, {"say": "Stop."}]})
    ended = our_gateway("We are open.", after="off")
    recording, found = await run_call(ended, insert_before(2, response_frame("late", 1)), call_script=script)
    assert [result.item for result in found if result.state == "broken"] == ["one-final"]
    recording, found = await run_call(
        our_gateway("Well", 0.2, " then", 0.5, " yes."),
        insert_before(2, response_frame("late", 1)),
        call_script=script,
    )
    assert [result.item for result in found if result.state == "broken"] == []
    assert [text for _, text in recording.turns[0].late_texts] == ["late"]


async def test_checks_that_the_script_does_not_exercise_are_not_tried() -> None:
    script = CallScript.model_validate({"turns": [{"say": "Hello?"}]})
    _, found = await run_call(our_gateway(), call_script=script)
    assert [result.item for result in found if result.state == "not tried"] == [
        *("refuses", "nonsense", "comes-back", "no-final-superseded", "old-events", "not-twice")
    ]
