"""A linter of Responses API streams: the order of events, their numbers, and their sum."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

Event = dict[str, Any]
FINAL_STATUS = {
    "response.completed": "completed",
    "response.incomplete": "incomplete",
    "response.failed": "failed",
}
USAGE = {
    "input_tokens",
    "input_tokens_details",
    "output_tokens",
    "output_tokens_details",
    "total_tokens",
}


def lint(stream: bytes) -> list[Event]:
    """Assert that `stream` is a well-formed stream of one response; return its events."""
    events = parse_events(stream)
    assert stream.endswith(b"\n\n")
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    first, second, *middle, last = events
    assert [first["type"], second["type"]] == ["response.created", "response.in_progress"]
    assert first["response"] == second["response"]
    started, finished = first["response"], last["response"]
    assert (started["status"], started["output"], started["usage"]) == ("in_progress", [], None)
    assert finished["status"] == FINAL_STATUS[last["type"]]
    unchanged = started.keys() - {"status", "output", "usage", "incomplete_details", "error"}
    assert {key: started[key] for key in unchanged} == {key: finished[key] for key in unchanged}
    assert started.keys() == finished.keys()
    assert started["id"].startswith("resp_")
    assert finished["output"] == list(_items(iter(middle)))
    if finished["status"] == "failed":
        assert finished["error"].keys() == {"code", "message"}
        assert (finished["incomplete_details"], finished["usage"]) == (None, None)
        return events
    assert finished["output"], "some clients look for an item"
    _lint_response(finished)
    return events


def _lint_response(response: Event) -> None:
    assert (response["object"], response["error"]) == ("response", None)
    assert (response["incomplete_details"] is None) == (response["status"] == "completed")
    usage = response["usage"]
    assert usage.keys() == USAGE
    assert usage["input_tokens_details"].keys() == {"cached_tokens", "cache_write_tokens"}
    assert usage["output_tokens_details"].keys() == {"reasoning_tokens"}
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
    ids = [item["id"] for item in response["output"]]
    assert len(set(ids)) == len(ids)
    texts = [item["content"][0]["text"] for item in response["output"] if item["type"] == "message"]
    assert "" not in texts or len(response["output"]) == 1, (
        "an empty message is there only if nothing else is"
    )


def parse_events(stream: bytes) -> list[Event]:
    """Return complete events without comments: two lines each, a name and JSON."""
    assert b"\r" not in stream
    found = []
    for event in filter(None, stream.split(b"\n\n")):
        if event.startswith(b": "):
            continue
        name, data = event.split(b"\n")
        assert name.startswith(b"event: response.")
        assert data.startswith(b"data: {")
        found.append(json.loads(data[6:]))
        assert found[-1]["type"] == name[7:].decode()
    return found


def _items(middle: Iterator[Event]) -> Iterator[Event]:
    """Yield the output items. All events of an item come before the next item."""
    for index, added in enumerate(middle):
        assert (added["type"], added["output_index"]) == ("response.output_item.added", index)
        item = added["item"]
        assert item["status"] == "in_progress"
        done = _message(item, index, middle) if item["type"] == "message" else _call(item, index, middle)
        assert (done["type"], done["output_index"]) == ("response.output_item.done", index)
        assert {**done["item"], "status": "in_progress", **_empty(item)} == item
        yield done["item"]


def _empty(item: Event) -> Event:
    return {"content": []} if item["type"] == "message" else {"arguments": ""}


def _message(item: Event, index: int, middle: Iterator[Event]) -> Event:
    place = {"item_id": item["id"], "output_index": index, "content_index": 0}
    part = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
    assert (item["role"], item["content"]) == ("assistant", [])
    assert _plain(next(middle)) == {"type": "response.content_part.added", **place, "part": part}
    text = ""
    for event in middle:
        if event["type"] != "response.output_text.delta":
            break
        assert _plain(event) == {
            "type": "response.output_text.delta", **place, "delta": event["delta"], "logprobs": [],
        }  # fmt: skip
        assert event["delta"], "an empty delta says nothing"
        text += event["delta"]
    part["text"] = text
    assert _plain(event) == {"type": "response.output_text.done", **place, "text": text, "logprobs": []}
    assert _plain(next(middle)) == {"type": "response.content_part.done", **place, "part": part}
    done = next(middle)
    assert done["item"]["content"] == [part]
    return done


def _call(item: Event, index: int, middle: Iterator[Event]) -> Event:
    assert item["type"] == "function_call"
    assert item["call_id"]
    assert item["name"]
    place = {"item_id": item["id"], "output_index": index}
    arguments = ""
    for event in middle:
        if event["type"] != "response.function_call_arguments.delta":
            break
        assert _plain(event).keys() == {"type", *place, "delta"}
        arguments += event["delta"]
    done_fields = {"name": item["name"], "arguments": arguments}
    assert _plain(event) == {"type": "response.function_call_arguments.done", **place, **done_fields}
    assert isinstance(json.loads(arguments), dict)
    done = next(middle)
    assert (done["item"]["arguments"], done["item"]["status"]) == (arguments, "completed")
    return done


def _plain(event: Event) -> Event:
    return {key: value for key, value in event.items() if key != "sequence_number"}


def spoken_text(stream: bytes) -> str:
    """Return the text of a stream."""
    deltas = [event for event in parse_events(stream) if event["type"] == "response.output_text.delta"]
    return "".join(event["delta"] for event in deltas)
