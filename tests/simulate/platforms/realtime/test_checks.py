"""Each entry of the realtime checklist finds the gateway that breaks it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tests.simulate.platforms.realtime.test_caller import caller, ours, rehearsed
from tests.simulate.stage import Flaw, sound
from voicegw.simulate.platforms.realtime.response import JsonObject
from voicegw.simulate.script import CallScript

Piece: TypeAlias = JsonObject | str | float | Callable[[JsonObject], JsonObject]


def same(frame: JsonObject) -> JsonObject:
    return frame


def but(**fields: Any) -> Callable[[JsonObject], JsonObject]:
    """The frame with other fields; a table is changed where it has the same."""

    def changed(frame: JsonObject) -> JsonObject:
        inner = {
            name: {**frame[name], **value} if isinstance(value, dict) and name in frame else value
            for name, value in fields.items()
        }
        return {**frame, **inner}

    return changed


def without(name: str) -> Callable[[JsonObject], JsonObject]:
    return lambda frame: {key: value for key, value in frame.items() if key != name}


def at(
    kind: str, *pieces: Piece, nth: int = 0, which: Callable[[JsonObject], bool] = lambda frame: True
) -> Callable[[], Flaw]:
    """Instead of the `nth` event of this kind come these."""

    def made() -> Flaw:
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

    return made


def starred(frame: JsonObject) -> Iterator[Any]:
    yield json.dumps(frame).replace("open", "**open**")


def wordless(frame: JsonObject) -> Iterator[Any]:
    if frame["type"] != "response.output_text.delta":
        yield json.dumps(frame).replace("We are open from nine to five.", "").replace("We are open", "")


def none() -> Flaw:
    return sound


def cancelled(frame: JsonObject) -> bool:
    return bool(frame["response"]["status"] == "cancelled")


def active(frame: JsonObject) -> bool:
    return bool(frame["error"]["code"] == "conversation_already_has_active_response")


def garbled(frame: JsonObject) -> bool:
    return bool(frame["error"]["code"] == "invalid_event")


def called(frame: JsonObject) -> bool:
    return bool(frame["item"]["type"] == "function_call")


def slow_to_cancel(app: ASGIApp) -> ASGIApp:
    """Goes on for a while after it was told to stop."""

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        async def heard() -> Message:
            message = await receive()
            if "response.cancel" in message.get("text", ""):
                await asyncio.sleep(0.4)
            return message

        await app(scope, heard, send)

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
    flaw: Callable[[], Flaw] = none,
    app: Callable[[], ASGIApp] = ours,
    also: str = "",
    failure: str = "",
    **how: Any,
) -> tuple[Any, ...]:
    """`also` are entries that such a gateway breaks, too, and `failure` is why the call ended early."""
    return flaw, app, {*also.split()}, failure, how


def id(**fields: Any) -> JsonObject:
    """An event that nothing of ours is behind."""
    return {"event_id": "event_x", **fields}


TWIN = [
    id(type="response.created", response={"id": "resp_x", "status": "in_progress"}),
    id(type="response.done", response={"id": "resp_x", "status": "completed", "output": []}, event_id="y"),
]
ADDED, CLOSED = "response.output_item.added", "response.output_item.done"
PART, TEXT = "response.content_part.added", "response.output_text.done"
TRUNCATED, ARGUED = "conversation.item.truncated", "response.function_call_arguments.done"

FLAWS: dict[str, Any] = {
    "connects": case(url="ws://127.0.0.1:8080/x"),
    "refuses": case(secret="sk-1", proof=True),  # a gateway without keys
    "answers": case(at("response.done"), also="created-done silence", failure="not answered within 60 s"),
    "answers, empty": case(lambda: wordless, also="first-words comes-back"),
    "first-words": case(app=lambda: ours(1.1, "We are open.")),
    "silence": case(app=lambda: ours("We are open", 8.1, " today.")),
    "stops": case(app=lambda: slow_to_cancel(ours(*[0.1, "We are open. "] * 8)), also="cancels"),
    "speakable": case(lambda: starred),
    "nonsense": case(app=lambda: touchy(ours()), also="answers first-words errors", failure="1002"),
    "comes-back": case(
        at("response.done", nth=5), also="answers created-done silence", failure="not answered within 60 s"
    ),
    "session-first": case(at("session.created")),
    "session-first, twice": case(at("session.created", same, but(event_id="event_x"))),
    "session-first, unasked": case(at("session.updated", same, but(event_id="event_x"))),
    "session-first, no update": case(at("session.updated")),
    "session-first, late": case(at("session.created", id(type="rate_limits.updated"), same)),
    "events": case(at("session.updated", same, id(type="weather"))),
    "events, no JSON": case(at("session.updated", same, "{")),
    "events, twice": case(at("conversation.item.added", same, same)),
    "events, no id": case(at("conversation.item.added", without("event_id"))),
    "events, no field": case(at("conversation.item.done", without("item"))),
    "events, odd field": case(at("conversation.item.done", but(item={"id": 7}))),
    "created-done": case(at("response.done", same, but(event_id="event_x"))),
    "created-done, failed": case(at("response.done", but(response={"status": "failed"}))),
    "created-done, begun": case(at("response.created", but(response={"status": "completed"}))),
    "created-done, unasked": case(at("response.done", same, *TWIN)),
    "created-done, unknown": case(
        at(
            "response.done",
            same,
            id(type=CLOSED, response_id="r", output_index=0, item={"id": "i", "type": "x"}),
        )
    ),
    "items": case(at(CLOSED)),
    "items, counted": case(at(ADDED, but(output_index=1))),
    "items, parts counted": case(at(PART, but(content_index=1))),
    "items, audio": case(at(PART, but(part={"type": "audio"}))),
    "items, no part": case(at(PART), also="deltas"),
    "items, open part": case(at("response.content_part.done")),
    "items, others": case(at("response.done", but(response={"output": []}))),
    "items, place": case(at(TEXT, but(output_index=3))),
    "deltas": case(at(TEXT, but(text="We are closed."))),
    "deltas, part": case(at("response.content_part.done", but(part={"text": "We"}))),
    "deltas, item": case(at(CLOSED, but(item={"content": []}))),
    "deltas, missing": case(at("response.output_text.delta", same, but(event_id="event_x", delta="!"))),
    "cancels": case(at("response.done", which=cancelled)),
    "cancels, completed": case(at("response.done", but(response={"status": "completed"}), which=cancelled)),
    "cancels, late": case(at("response.done", 0.3, same, which=cancelled)),
    "truncates": case(at(TRUNCATED)),
    "truncates, elsewhere": case(at(TRUNCATED, but(audio_end_ms=7))),
    "errors": case(at("error", nth=1)),
    "errors, twice": case(at("error", same, but(event_id="event_x"), nth=1)),
    "errors, whose": case(at("error", but(error={"event_id": "event_x"}), nth=1)),
    "errors, garbled": case(at("error", which=garbled)),
    "errors, from nowhere": case(
        at("session.updated", same, id(type="error", error={"type": "x", "message": ""}))
    ),
    "tools": case(at(CLOSED, but(item={"name": "other"}), which=called)),
    "tools, arguments": case(at(ARGUED, but(arguments="{}"))),
    "tools, no object": case(at(CLOSED, but(item={"arguments": "[]"}), which=called)),
    "tools, no id": case(at(CLOSED, but(item={"call_id": ""}), which=called)),
    "not-twice": case(at("error", which=active)),
    "not-twice, code": case(at("error", but(error={"code": "busy"}), which=active)),
    "not-twice, twice": case(at("error", *TWIN, which=active)),
}


def test_every_entry_has_a_gateway_that_breaks_it() -> None:
    items = [check.item for check in caller().checks]
    assert {name.split(",")[0] for name in FLAWS} == set(items)
    assert len(set(items)) == len(items)


@pytest.mark.parametrize("name", FLAWS)
async def test_a_flaw_breaks_its_entry_and_no_other(name: str) -> None:
    flaw, app, also, failure, how = FLAWS[name]
    tape, found = await rehearsed(app(), flaw(), **how)
    broken = {verdict.item: verdict.violations for verdict in found if verdict.state == "broken"}
    assert broken.keys() == {name.split(",")[0], *also}, broken
    assert failure in tape.failure


@pytest.mark.parametrize(
    ("name", "breach"),
    [
        ("session-first", "'session.updated' came first"),
        ("session-first", "session.created was not answered"),
        ("events, twice", "'conversation.item.added' with no event_id of its own"),
        ("created-done, failed", "response.done with status 'failed'"),
        ("items, counted", "output_index 1 of a new item, not 0"),
        ("deltas", "'We are closed.' is not what the deltas were"),
        ("cancels", "turn 2: no response.done followed response.cancel"),
        ("cancels, late", "turn 2: response.done came 0.30 s after response.cancel"),
        ("truncates", "conversation.item.truncate was not answered"),
        ("errors", "weather was not answered"),
        ("tools", "'other' is not offered"),
        ("not-twice, code", "response.create was refused with code 'busy'"),
    ],
)
async def test_a_flaw_is_told_by_field_and_value(name: str, breach: str) -> None:
    flaw, app, _, _, how = FLAWS[name]
    _, found = await rehearsed(app(), flaw(), **how)
    assert breach in " | ".join(breach for verdict in found for breach in verdict.violations)


async def test_what_the_script_gave_no_occasion_for_was_not_tried() -> None:
    told = CallScript.model_validate({"turns": [{"say": "Hello?"}]})
    _, found = await rehearsed(ours(), told=told)
    assert [verdict.item for verdict in found if verdict.state == "not tried"] == [
        *("refuses", "stops", "nonsense", "comes-back", "cancels", "truncates", "errors", "tools"),
        "not-twice",
    ]
