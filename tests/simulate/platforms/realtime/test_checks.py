"""Each entry of the realtime checklist finds the gateway that breaks it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tests.simulate.asgi_websocket import Flaw, unchanged
from tests.simulate.platforms.realtime.test_client import make_client, our_gateway, run_call
from voicegw.simulate.platforms.realtime.response import JsonObject
from voicegw.simulate.script import CallScript

Piece: TypeAlias = JsonObject | str | float | Callable[[JsonObject], JsonObject]


def unchanged_event(frame: JsonObject) -> JsonObject:
    return frame


def with_fields(**fields: Any) -> Callable[[JsonObject], JsonObject]:
    """Return a change of these fields of an event; objects are merged with the existing ones."""

    def changed(frame: JsonObject) -> JsonObject:
        inner = {
            name: {**frame[name], **value} if isinstance(value, dict) and name in frame else value
            for name, value in fields.items()
        }
        return {**frame, **inner}

    return changed


def without_field(name: str) -> Callable[[JsonObject], JsonObject]:
    return lambda frame: {key: value for key, value in frame.items() if key != name}


def change_event(
    kind: str, *pieces: Piece, nth: int = 0, which: Callable[[JsonObject], bool] = lambda frame: True
) -> Callable[[], Flaw]:
    """Return a flaw that replaces the `nth` event of this type."""

    def make_flaw() -> Flaw:
        left = nth

        def flaw(frame: JsonObject) -> Iterator[Any]:
            nonlocal left
            found = frame["type"] == kind and which(frame)
            left -= found
            if not found or left != -1:
                yield frame
                return
            for piece in pieces:
                yield piece(frame) if callable(piece) else piece

        return flaw

    return make_flaw


def add_markup(frame: JsonObject) -> Iterator[Any]:
    yield json.dumps(frame).replace("open", "**open**")


def remove_text(frame: JsonObject) -> Iterator[Any]:
    if frame["type"] != "response.output_text.delta":
        yield json.dumps(frame).replace("We are open from nine to five.", "").replace("We are open", "")


def no_flaw() -> Flaw:
    return unchanged


def is_cancelled(frame: JsonObject) -> bool:
    return bool(frame["response"]["status"] == "cancelled")


def is_active_error(frame: JsonObject) -> bool:
    return bool(frame["error"]["code"] == "conversation_already_has_active_response")


def is_malformed_error(frame: JsonObject) -> bool:
    return bool(frame["error"]["code"] == "invalid_event")


def is_function_call(frame: JsonObject) -> bool:
    return bool(frame["item"]["type"] == "function_call")


def delay_cancel(app: ASGIApp) -> ASGIApp:
    """Delay each response.cancel by 0.4 s."""

    async def flawed_app(scope: Scope, receive: Receive, send: Send) -> None:
        async def receive_changed() -> Message:
            message = await receive()
            if "response.cancel" in message.get("text", ""):
                await asyncio.sleep(0.4)
            return message

        await app(scope, receive_changed, send)

    return flawed_app


def close_on_malformed(app: ASGIApp) -> ASGIApp:
    """Close the connection after an event of unknown type."""

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
    flaw: Callable[[], Flaw] = no_flaw,
    app: Callable[[], ASGIApp] = our_gateway,
    side_effects: str = "",
    failure: str = "",
    **options: Any,
) -> tuple[Any, ...]:
    """Return a case: `side_effects` are other checks that break too, `failure` a part of the failure."""
    return flaw, app, {*side_effects.split()}, failure, options


def id(**fields: Any) -> JsonObject:
    """Return an event that answers no event of the client."""
    return {"event_id": "event_x", **fields}


SECOND_RESPONSE = [
    id(type="response.created", response={"id": "resp_x", "status": "in_progress"}),
    id(type="response.done", response={"id": "resp_x", "status": "completed", "output": []}, event_id="y"),
]
ADDED, CLOSED = "response.output_item.added", "response.output_item.done"
PART, TEXT = "response.content_part.added", "response.output_text.done"
TRUNCATED, ARGUED = "conversation.item.truncated", "response.function_call_arguments.done"

FLAWS: dict[str, Any] = {
    "connects": case(url="ws://127.0.0.1:8080/x"),
    "refuses": case(secret="sk-1", try_forged=True),  # a gateway without keys
    "answers": case(
        change_event("response.done"), side_effects="created-done silence", failure="not answered within 60 s"
    ),
    "answers, empty": case(lambda: remove_text, side_effects="first-words comes-back"),
    "first-words": case(app=lambda: our_gateway(1.1, "We are open.")),
    "silence": case(app=lambda: our_gateway("We are open", 8.1, " today.")),
    "stops": case(app=lambda: delay_cancel(our_gateway(*[0.1, "We are open. "] * 8)), side_effects="cancels"),
    "speakable": case(lambda: add_markup),
    "nonsense": case(
        app=lambda: close_on_malformed(our_gateway()),
        side_effects="answers first-words errors",
        failure="1002",
    ),
    "comes-back": case(
        change_event("response.done", nth=5),
        side_effects="answers created-done silence",
        failure="not answered within 60 s",
    ),
    "session-first": case(change_event("session.created")),
    "session-first, twice": case(
        change_event("session.created", unchanged_event, with_fields(event_id="event_x"))
    ),
    "session-first, unasked": case(
        change_event("session.updated", unchanged_event, with_fields(event_id="event_x"))
    ),
    "session-first, no update": case(change_event("session.updated")),
    "session-first, late": case(
        change_event("session.created", id(type="rate_limits.updated"), unchanged_event)
    ),
    "events": case(change_event("session.updated", unchanged_event, id(type="weather"))),
    "events, no JSON": case(change_event("session.updated", unchanged_event, "{")),
    "events, twice": case(change_event("conversation.item.added", unchanged_event, unchanged_event)),
    "events, no id": case(change_event("conversation.item.added", without_field("event_id"))),
    "events, no field": case(change_event("conversation.item.done", without_field("item"))),
    "events, odd field": case(change_event("conversation.item.done", with_fields(item={"id": 7}))),
    "created-done": case(change_event("response.done", unchanged_event, with_fields(event_id="event_x"))),
    "created-done, failed": case(change_event("response.done", with_fields(response={"status": "failed"}))),
    "created-done, begun": case(
        change_event("response.created", with_fields(response={"status": "completed"}))
    ),
    "created-done, unasked": case(change_event("response.done", unchanged_event, *SECOND_RESPONSE)),
    "created-done, unknown": case(
        change_event(
            "response.done",
            unchanged_event,
            id(type=CLOSED, response_id="r", output_index=0, item={"id": "i", "type": "x"}),
        )
    ),
    "items": case(change_event(CLOSED)),
    "items, counted": case(change_event(ADDED, with_fields(output_index=1))),
    "items, parts counted": case(change_event(PART, with_fields(content_index=1))),
    "items, audio": case(change_event(PART, with_fields(part={"type": "audio"}))),
    "items, no part": case(change_event(PART), side_effects="deltas"),
    "items, open part": case(change_event("response.content_part.done")),
    "items, others": case(change_event("response.done", with_fields(response={"output": []}))),
    "items, place": case(change_event(TEXT, with_fields(output_index=3))),
    "deltas": case(change_event(TEXT, with_fields(text="We are closed."))),
    "deltas, part": case(change_event("response.content_part.done", with_fields(part={"text": "We"}))),
    "deltas, item": case(change_event(CLOSED, with_fields(item={"content": []}))),
    "deltas, missing": case(
        change_event(
            "response.output_text.delta", unchanged_event, with_fields(event_id="event_x", delta="!")
        )
    ),
    "cancels": case(change_event("response.done", which=is_cancelled)),
    "cancels, completed": case(
        change_event("response.done", with_fields(response={"status": "completed"}), which=is_cancelled)
    ),
    "cancels, late": case(change_event("response.done", 0.3, unchanged_event, which=is_cancelled)),
    "truncates": case(change_event(TRUNCATED)),
    "truncates, elsewhere": case(change_event(TRUNCATED, with_fields(audio_end_ms=7))),
    "errors": case(change_event("error", nth=1)),
    "errors, twice": case(change_event("error", unchanged_event, with_fields(event_id="event_x"), nth=1)),
    "errors, whose": case(change_event("error", with_fields(error={"event_id": "event_x"}), nth=1)),
    "errors, garbled": case(change_event("error", which=is_malformed_error)),
    "errors, from nowhere": case(
        change_event("session.updated", unchanged_event, id(type="error", error={"type": "x", "message": ""}))
    ),
    "tools": case(change_event(CLOSED, with_fields(item={"name": "other"}), which=is_function_call)),
    "tools, arguments": case(change_event(ARGUED, with_fields(arguments="{}"))),
    "tools, no object": case(
        change_event(CLOSED, with_fields(item={"arguments": "[]"}), which=is_function_call)
    ),
    "tools, no id": case(change_event(CLOSED, with_fields(item={"call_id": ""}), which=is_function_call)),
    "not-twice": case(change_event("error", which=is_active_error)),
    "not-twice, code": case(
        change_event("error", with_fields(error={"code": "busy"}), which=is_active_error)
    ),
    "not-twice, twice": case(change_event("error", *SECOND_RESPONSE, which=is_active_error)),
}


def test_every_check_has_a_flaw_that_breaks_it() -> None:
    items = [check.item for check in make_client().checks]
    elsewhere = {"late-interrupt"}  # tests/simulate/platforms/test_situations.py
    assert {name.split(",")[0] for name in FLAWS} | elsewhere == set(items)
    assert len(set(items)) == len(items)


@pytest.mark.parametrize("name", FLAWS)
async def test_flaw_breaks_its_check_and_no_other(name: str) -> None:
    flaw, app, side_effects, failure, options = FLAWS[name]
    recording, found = await run_call(app(), flaw(), **options)
    broken = {result.item: result.violations for result in found if result.state == "broken"}
    assert broken.keys() == {name.split(",")[0], *side_effects}, broken
    assert failure in recording.failure


@pytest.mark.parametrize(
    ("name", "breach"),
    [
        ("session-first", "'session.updated' came first"),
        ("session-first", "session.created was not answered"),
        ("events, twice", "'conversation.item.added' without a new event_id"),
        ("created-done, failed", "response.done with status 'failed'"),
        ("items, counted", "output_index 1 of a new item, not 0"),
        ("deltas", "'We are closed.' is not the text of the deltas"),
        ("cancels", "turn 2: no response.done followed response.cancel"),
        ("cancels, late", "turn 2: response.done came 0.30 s after response.cancel"),
        ("truncates", "conversation.item.truncate was not answered"),
        ("errors", "weather was not answered"),
        ("tools", "'other' is not offered"),
        ("not-twice, code", "response.create was refused with code 'busy'"),
    ],
)
async def test_violations_name_field_and_value(name: str, breach: str) -> None:
    flaw, app, _, _, options = FLAWS[name]
    _, found = await run_call(app(), flaw(), **options)
    assert breach in " | ".join(breach for result in found for breach in result.violations)


async def test_checks_that_the_script_does_not_exercise_are_not_tried() -> None:
    script = CallScript.model_validate({"turns": [{"say": "Hello?"}]})
    _, found = await run_call(our_gateway(), script=script)
    assert [result.item for result in found if result.state == "not tried"] == [
        *("refuses", "stops", "nonsense", "comes-back", "late-interrupt", "cancels", "truncates", "errors"),
        *("tools", "not-twice"),
    ]
