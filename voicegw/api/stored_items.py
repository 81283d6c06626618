"""The items of stored responses that a request names instead of sending them again. Pure.

The agent gets them as it wrote them: the gateway's own words in a message are left out.
Source: OpenAI's Responses API, `item_reference`; the AI SDK's default model sends it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeAlias

from voicegw.api.response_ids import message_item_id, output_items, response_id
from voicegw.conversations.response_store import StoredResponse
from voicegw.errors import BadRequest, NotFound
from voicegw.events import Message, ToolCall

FindResponse: TypeAlias = Callable[[str], StoredResponse]
"""Returns the stored response with an id, or raises `NotFound`."""
ITEM_ID = re.compile(r"(?:msg|fc)_(.+)_[0-9]+")
"""The id of an item; the group is the id of its turn."""

MAX_SHOWN_ID_LENGTH = 80
"""Characters of an unknown id that an error repeats."""


class ItemNotFound(NotFound):
    """No such item is stored here: it never existed, is too old, or is another key's or worker's."""

    type = "invalid_request_error"


class StoredItems:
    """Finds the stored items that one request names."""

    def __init__(self, find_response: FindResponse) -> None:
        # Finds the responses.
        self.find_response = find_response
        # The items by their ids, for each turn that was looked up.
        self._turns: dict[str, dict[str, Message | ToolCall | None]] = {}
        # The ids so far. Without this check, a small request could name a long text thousands of times.
        self._named: set[str] = set()

    def find(self, id: str, path: str) -> Message | ToolCall | None:
        """Return the item with this id; None for a message that holds only the gateway's own words.

        `path` is the path of the id in the request. Raise `ItemNotFound`, and `BadRequest` for an id that was
        named before.
        """
        if id in self._named:
            raise BadRequest(f"'{path}': the request names the item twice.", param=path)
        self._named.add(id)
        match = ITEM_ID.fullmatch(id)
        items = None if match is None else self._items_of_turn(match[1])
        if items is None or id not in items:
            shown = id[:MAX_SHOWN_ID_LENGTH]
            raise ItemNotFound(
                f"'{path}': the item '{shown}' is not known (any more); send the item itself.", param=path
            )
        return items[id]

    def _items_of_turn(self, turn_id: str) -> dict[str, Message | ToolCall | None] | None:
        """Return the items of the response to a turn; None if it is not stored.

        A message of the gateway's own words is None; a response without any other item has an empty one.
        """
        if turn_id not in self._turns:
            try:
                response = self.find_response(response_id(turn_id))
            except NotFound:
                return None
            parts = response.completion.parts
            own_counts = response.own_message_counts if parts else {0, *response.own_message_counts}
            own_items = {message_item_id(turn_id, count): None for count in own_counts}
            self._turns[turn_id] = {**own_items, **output_items(turn_id, parts)}
        return self._turns[turn_id]
