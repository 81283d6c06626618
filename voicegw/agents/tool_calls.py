"""Tool calls that a model streams in pieces, gathered until they are whole, for every provider alike. Pure.

Not the tools' own execution: the platform runs a call once it is whole. OpenAI's protocol marks a piece by an
index and names id and tool once. Servers deviate: pieces of several calls are interleaved, come without an
index or an id, or with a new id each time, and some servers repeat whole calls at the end of the stream.
"""

from __future__ import annotations

from collections.abc import Iterable

from voicegw.agents.gathered_call import GatheredCall, join_pieces, may_be_same
from voicegw.errors import AgentProtocolError
from voicegw.events import ToolCall
from voicegw.wire.json import loads_object

MAX_TOOL_CALLS = 128
"""Tool calls of one turn; with more of them the turn fails. OpenAI allows as many tools."""
MAX_ARGUMENT_CHARS = 1_000_000
"""Characters of the arguments of one turn's tool calls; beyond it the turn fails."""
CALL_COST = 256
"""Characters that each call adds towards `MAX_ARGUMENT_CHARS`, so that empty calls are bounded too."""
ID_COST = 32
"""Characters that each further id of a call adds towards `MAX_ARGUMENT_CHARS`, besides its own."""


class ToolCallGatherer:
    """Gathers the tool calls of one turn. `id_prefix` begins the ids of calls that came without one.

    `tool_names` are those of the tools that the model may call. They decide whether a second name belongs to
    a call whose name comes in pieces, or begins another call.

    A protocol with explicit blocks uses `start`, `append` and `close`; any other one `add`. `end` returns
    the calls that are not returned yet. Calls are returned in the order in which they began.
    """

    __slots__ = (
        "_by_id",
        "_calls",
        "_chars",
        "_id_prefix",
        "_returned",
        "_slots",
        "_tool_names",
        "_whole_calls",
    )

    def __init__(self, id_prefix: str = "call", tool_names: Iterable[str] = ()) -> None:
        self._id_prefix = id_prefix
        self._tool_names = frozenset(tool_names)
        # The calls in the order in which they began; the first `_returned` ones are returned.
        self._calls: list[GatheredCall] = []
        self._returned = 0
        # The newest call by its index or position, and by each of its ids.
        self._slots: dict[object, GatheredCall] = {}
        self._by_id: dict[str, GatheredCall] = {}
        # The whole calls that were returned, with those that they come from.
        self._whole_calls: list[tuple[GatheredCall, ToolCall]] = []
        self._chars = 0

    @property
    def count(self) -> int:
        """The number of calls that were returned."""
        return len(self._whole_calls)

    @property
    def has_partial_call(self) -> bool:
        """Whether the arguments of a call have begun and not ended."""
        return any(call.has_text and not call.is_whole for call in self._calls)

    @property
    def has_open_call(self) -> bool:
        """Whether a call began at an index that was not closed."""
        return any(not call.is_closed for call in self._calls)

    @property
    def has_bare_call(self) -> bool:
        """Whether a call came without arguments so far."""
        return any(not call.has_text for call in self._calls)

    # For protocols with explicit blocks

    def start(self, index: object, id: str, name: str, default_arguments: str = "") -> None:
        """Begin the call at `index`. `default_arguments` count if no piece follows.

        Raises `AgentProtocolError` beyond `MAX_ARGUMENT_CHARS`.
        """
        call = self._begin(index, index, id, name)
        call.default_arguments = default_arguments
        self._count_chars(len(default_arguments))

    def append(self, index: object, piece: str) -> bool:
        """Append a piece to the call at `index`; return False if no call is open there.

        Raises `AgentProtocolError` beyond `MAX_ARGUMENT_CHARS`, or if the piece is no text.
        """
        call = self._slots.get(index)
        if call is None or call.is_closed:
            return False
        self._append(call, piece)
        return True

    def close(self, index: object) -> list[ToolCall]:
        """Note that the call at `index` is complete; return the calls that are whole now.

        A call without arguments waits for `end`: the answer may have been cut before them. Raises
        `AgentProtocolError` for a call without a name, or whose arguments are no JSON object.
        """
        call = self._slots.get(index)
        if call is not None:
            call.is_closed = True
        found: list[ToolCall] = []
        while self._returned < len(self._calls):
            first = self._calls[self._returned]
            if not (first.is_closed and first.has_text):
                break
            self._returned += 1
            self._build(first, found, is_cut=False)
        return found

    # For protocols of loose pieces

    def add(self, index: object, position: int, id: str, name: str, arguments: str) -> None:
        """Add a piece. `index` is None if the server sent none; `position` is its place among its neighbours.

        Raises `AgentProtocolError` beyond `MAX_ARGUMENT_CHARS`, or if `arguments` are no text.
        """
        slot = position if index is None else index
        call = self._find(index, slot, id, name, arguments)
        if call is None:
            call = self._begin(index, slot, id, name)
        elif id and id not in call.ids:
            self._count_chars(ID_COST + len(id))
            call.id = call.id or id
            call.ids.add(id)
            self._by_id.setdefault(id, call)
        call.name = call.name + name if self._continues_name(call, name) else call.name or name
        if arguments:
            self._append(call, arguments)

    def _find(self, index: object, slot: object, id: str, name: str, arguments: str) -> GatheredCall | None:
        """Return the call that a piece belongs to; None if it begins another one."""
        at_slot = self._slots.get(slot)
        known = at_slot if at_slot is not None and id in at_slot.ids else self._by_id.get(id)
        named = known or at_slot
        if named is not None and self._continues_name(named, name):
            return named
        if known is not None:
            is_elsewhere = index is not None and known.index is not None and index != known.index
            begins = name and (is_elsewhere or (known.is_whole and bool(arguments.strip())))
            return None if begins else known
        if not name:
            if at_slot is None or (index is None and at_slot.is_whole):
                return self._calls[-1] if index is None and self._calls else None
            return at_slot
        if at_slot is None or not at_slot.name:
            return at_slot
        if at_slot.name != name or (id and at_slot.ids):
            return None
        begins_again = at_slot.is_whole and (index is None or bool(arguments.strip()))
        return None if begins_again else at_slot

    def _continues_name(self, call: GatheredCall, name: str) -> bool:
        """Whether `name` is the next piece of the call's name, and not that of another call."""
        if not (name and call.name) or call.has_text or {call.name, name} <= self._tool_names:
            return False
        return any(tool.startswith(call.name + name) for tool in self._tool_names)

    # For both

    def end(self, *, is_cut: bool = False) -> list[ToolCall]:
        """Return the calls that are not returned yet; `is_cut`: the server says that the answer is cut.

        Without any piece, the arguments of a call are `{}`, unless the answer is cut. Raises
        `AgentProtocolError` for a call without a name, whose arguments are no JSON object, or that was cut,
        and for more than `MAX_TOOL_CALLS`.
        """
        found: list[ToolCall] = []
        calls = join_pieces(self._calls[self._returned :])
        self._returned = len(self._calls)
        for call in calls:
            self._build(call, found, is_cut=is_cut)
        return found

    def _begin(self, index: object, slot: object, id: str, name: str) -> GatheredCall:
        self._count_chars(CALL_COST + len(id) + len(name))
        call = GatheredCall(index, slot, id, name)
        self._slots[slot] = call
        if id:
            call.ids.add(id)
            self._by_id[id] = call
        self._calls.append(call)
        return call

    def _append(self, call: GatheredCall, piece: str) -> None:
        if type(piece) is not str:
            raise _no_object(call.name)
        self._count_chars(len(piece))
        call.append(piece)

    def _count_chars(self, count: int) -> None:
        self._chars += count
        if self._chars > MAX_ARGUMENT_CHARS:
            raise AgentProtocolError(f"tool calls with more than {MAX_ARGUMENT_CHARS} characters")

    def _build(self, call: GatheredCall, found: list[ToolCall], *, is_cut: bool) -> None:
        """Append the whole call to `found`, unless the server repeats an earlier one."""
        if not call.name:
            raise AgentProtocolError("a tool call without a name")
        text = call.text
        if not text and is_cut:
            raise AgentProtocolError("the answer was cut before the arguments of a tool", call.name)
        arguments = loads_object(text or "{}")
        if arguments is None:
            raise _no_object(call.name)
        earlier = [one for one in self._whole_calls if may_be_same(one[0], call)]
        if any(loads_object(whole.arguments) == arguments for _, whole in earlier):
            return
        if len(self._whole_calls) == MAX_TOOL_CALLS:
            raise AgentProtocolError(f"more than {MAX_TOOL_CALLS} tool calls")
        ids = {whole.id for _, whole in self._whole_calls}
        id = call.id if call.id and call.id not in ids else f"{self._id_prefix}_{len(ids) + 1}"
        whole = ToolCall(id, call.name, text or "{}")
        self._whole_calls.append((call, whole))
        found.append(whole)


def _no_object(name: str) -> AgentProtocolError:
    return AgentProtocolError("the arguments of a tool are no JSON object", name)
