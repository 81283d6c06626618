"""The meaning of a request to a turn of its call that is known: join it, replace it, or run beside it. Pure.

The dispatcher acts on the decision. Requests without a call never get here: they meet no other turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from hashlib import blake2b

from voicegw.events import Message, Turn
from voicegw.wire.json import dumps


class TurnRelation(Enum):
    """The decision about a request."""

    JOIN = "it is the same request, and the known run still answers it"
    REPLAY = "it is the same request, and the known run has its answer"
    PARALLEL = "it gets a run beside the newest one"
    SUPERSEDE = "it gets the newest run, and the run before it is cancelled"
    OLD = "it is a late retry of an earlier turn, and ends without a run of the agent"
    NEW_RUN = "it gets the newest run, and nothing has to be cancelled"


class Client(Enum):
    """The client that sends a request. It decides what a different history on the same call means."""

    VOICE = "a voice platform over HTTP: a caller says one thing at a time, and retries may be late"
    SOCKET = "a voice platform on a websocket: turns come in order"
    CHAT = "a chat client: it regenerates earlier answers, and asks several models side by side"
    PROGRAM = "a client that waits for the whole answer, or reads a structured one: no caller speaks to it"


class RunState(Enum):
    """The state of a known run."""

    RUNNING = "the answer has not ended"
    UNDELIVERED = "the answer ended recently, and no client got all of it"
    DELIVERED = "the answer ended recently, and a client got all of it"
    UNUSABLE = "the run ended recently; it was cancelled, or a retry may succeed"
    EXPIRED = "the run ended before the replay window"


class History(Enum):
    """The history of a turn beside that of a known one, without the instructions at their beginning."""

    SAME = "the histories are equal"
    EARLIER = "it is a proper prefix of the known one"
    OTHER = "it continues the known one, or diverges from it"


def relate(
    turn: Turn,
    known: Turn,
    state: RunState,
    client: Client,
    *,
    is_retry: bool = False,
    has_same_form: bool = True,
    known_options: bytes | None = None,
) -> TurnRelation:
    """Decide what a turn means to a known one of its call, whose run is in `state`.

    `is_retry`: the client says that it repeats its request. `has_same_form`: both turns want the text as
    speech, or both want it unchanged; another form is another request, like other options. `known_options`:
    the `digest_of_options` of the known turn if they were forgotten.
    """
    history = compare_histories(turn, known)
    if history is History.SAME and has_same_form and has_same_options(turn, known, known_options):
        if state is RunState.RUNNING:
            return TurnRelation.JOIN
        if state is RunState.UNDELIVERED or (state is RunState.DELIVERED and is_retry):
            return TurnRelation.REPLAY
    if client is Client.PROGRAM:
        return TurnRelation.PARALLEL
    if client is Client.VOICE and history is History.EARLIER and state is not RunState.EXPIRED:
        return TurnRelation.OLD
    if state is not RunState.RUNNING:
        return TurnRelation.NEW_RUN
    if client is Client.CHAT or (client is Client.VOICE and history is History.SAME):
        return TurnRelation.PARALLEL
    return TurnRelation.SUPERSEDE


def compare_histories(turn: Turn, known: Turn) -> History:
    """Compare the messages of two turns after their instructions, which platforms change between turns."""
    start, known_start = count_instructions(turn.messages), count_instructions(known.messages)
    length, known_length = len(turn.messages) - start, len(known.messages) - known_start
    if turn.kind != known.kind or length > known_length:
        return History.OTHER
    if turn.messages[start:] != known.messages[known_start : known_start + length]:
        return History.OTHER
    if length == known_length:
        return History.SAME
    if not length and turn.messages != known.messages[:known_start]:
        return History.OTHER  # instructions alone begin every history: another prompt is no earlier turn
    return History.EARLIER


def has_same_options(turn: Turn, known: Turn, known_options: bytes | None = None) -> bool:
    """Return whether both turns have the same model, tools, options, language and instructions.

    `known_options` is as in `relate`.
    """
    if known_options is None:
        same = (turn.tools, turn.tool_choice, turn.options) == (known.tools, known.tool_choice, known.options)
    else:
        same = digest_of_options(turn) == known_options
    return (
        same
        and turn.model == known.model
        and turn.language == known.language
        and turn.messages[: count_instructions(turn.messages)]
        == known.messages[: count_instructions(known.messages)]
    )


def digest_of_options(turn: Turn) -> bytes:
    """Return a digest of the tools, the choice of a tool, and the options of a turn."""
    return blake2b(dumps([turn.tools, turn.tool_choice, turn.options]), digest_size=16).digest()


def count_instructions(messages: Sequence[Message]) -> int:
    """Return the number of system and developer messages at the beginning."""
    for index, message in enumerate(messages):
        if message.role not in ("system", "developer"):
            return index
    return len(messages)
