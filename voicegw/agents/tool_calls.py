"""Tool calls that a model streams in pieces, put together for every provider alike.

Not the tools' own execution: the platform runs a call once it is whole.
"""

from __future__ import annotations

from voicegw.errors import AgentProtocolError
from voicegw.events import ToolCall
from voicegw.wire.json import loads_object


class ToolCallBuilder:
    """One tool call whose arguments still arrive.

    `id` and `name` are "" until the provider sends them; a decoder may set them later. `default_arguments` is
    the JSON object that counts if no piece holds anything.
    """

    __slots__ = ("_pieces", "default_arguments", "id", "name")

    def __init__(self, id: str = "", name: str = "", default_arguments: str = "{}") -> None:
        self.id = id
        self.name = name
        self.default_arguments = default_arguments
        self._pieces: list[str] = []

    def add_arguments(self, piece: str) -> None:
        """Append a piece of the arguments' JSON text. `build` checks its type and its content."""
        self._pieces.append(piece)

    def build(self, fallback_id: str) -> ToolCall:
        """Return the whole call, with `fallback_id` if the provider sent no id.

        Raises `AgentProtocolError` if the name is missing or the arguments are no JSON object.
        """
        if not self.name:
            raise AgentProtocolError("a tool call without a name")
        try:
            arguments = "".join(self._pieces).strip() or self.default_arguments
        except TypeError:  # a piece is no text
            arguments = ""
        if loads_object(arguments) is None:
            raise AgentProtocolError(f"the arguments of tool {self.name!r} are no JSON object")
        return ToolCall(self.id or fallback_id, self.name, arguments)
