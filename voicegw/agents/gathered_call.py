"""One tool call whose pieces still arrive, for `voicegw.agents.tool_calls`. Pure.

It does not decide to which call a piece belongs, and it does not check the arguments.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from voicegw.wire.json import join_surrogates

MAX_PIECES = 1000
"""Pieces that are kept apart. Above it they are joined: a piece of one letter takes 50 bytes."""
MARKS = re.compile(r'[\\"{}\[\]]')
"""The characters that decide where a JSON object ends."""


class GatheredCall:
    """One tool call whose pieces still arrive. `index` and `slot` are those of its first piece."""

    __slots__ = (
        "_depth",
        "_escaped_at",
        "_in_string",
        "_position",
        "_scanned",
        "default_arguments",
        "id",
        "ids",
        "index",
        "is_closed",
        "name",
        "pieces",
        "slot",
    )

    def __init__(self, index: object, slot: object, id: str, name: str) -> None:
        self.index = index
        self.slot = slot
        self.id = id
        self.name = name
        # Every id that named it; a server may send a new one with each piece.
        self.ids: set[str] = set()
        # The pieces of the arguments' JSON text.
        self.pieces: list[str] = []
        # The arguments that count if no piece holds any, "" if the protocol names none.
        self.default_arguments = ""
        # Whether the protocol said that it is complete.
        self.is_closed = False
        # The state of `is_whole`: pieces and characters that were read, open brackets, the string.
        self._scanned = self._position = self._depth = 0
        self._in_string = False
        self._escaped_at = -1

    def append(self, piece: str) -> None:
        """Add a piece of the arguments' JSON text."""
        self.pieces.append(piece)
        if len(self.pieces) > MAX_PIECES:
            self._scan()
            self.pieces = ["".join(self.pieces)]
            self._scanned = 1

    @property
    def text(self) -> str:
        """The arguments so far, "" if there are none."""
        return join_surrogates("".join(self.pieces)).strip() or self.default_arguments

    @property
    def has_text(self) -> bool:
        """Whether arguments came."""
        return bool(self.default_arguments) or any(map(str.strip, self.pieces))

    @property
    def is_whole(self) -> bool:
        """Whether every bracket and string of the arguments is closed. Each piece is read once."""
        self._scan()
        return not (self._depth or self._in_string) and self.has_text

    def _scan(self) -> None:
        """Read the marks of the pieces that were not read yet."""
        for piece in self.pieces[self._scanned :]:
            for found in MARKS.finditer(piece):
                self._read_mark(found[0], self._position + found.start())
            self._position += len(piece)
        self._scanned = len(self.pieces)

    def _read_mark(self, mark: str, at: int) -> None:
        if at == self._escaped_at:
            return
        if mark == "\\":
            self._escaped_at = at + 1
        elif mark == '"':
            self._in_string = not self._in_string
        elif not self._in_string:
            self._depth += 1 if mark in "{[" else -1

    def join(self, other: GatheredCall) -> None:
        """Append what came of `other`, which turned out to be the same call."""
        self.pieces += other.pieces
        self.ids |= other.ids


def join_pieces(calls: Iterable[GatheredCall]) -> list[GatheredCall]:
    """Join the neighbours that are one call: with each piece, its server sent a new id and the name again."""
    joined: list[GatheredCall] = []
    last_at_slot: dict[object, GatheredCall] = {}
    for call in calls:
        before = last_at_slot.get(call.slot)
        if before is None or before.name != call.name or before.is_closed or before.is_whole:
            joined.append(call)
            last_at_slot[call.slot] = call
        else:
            before.join(call)
    return joined


def may_be_same(one: GatheredCall, other: GatheredCall) -> bool:
    """Whether two calls of equal arguments are one: of the same id, or at one place without two ids."""
    if one.name != other.name:
        return False
    return bool(one.ids & other.ids) if one.ids and other.ids else one.slot == other.slot
