"""The same conversation, led by ElevenLabs' own library and by our codec: the same frames at the same times.

Both play a script of what comes: a number is a pause in seconds, everything else a frame; at its end the
socket is lost. Both answer a transcript with what `ANSWERS` has for the caller's last words.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.clock import VirtualLoop
from voicegw.calls.codec import CallEnded, ProtocolReply, TurnRequested
from voicegw.platforms.elevenlabs.codec import SpeechEngineCodec, SpeechEngineTurn

library: Any = pytest.importorskip("elevenlabs.speech_engine", reason="elevenlabs is not installed")

Script = list[float | str | bytes]
Sent = list[tuple[float, list[tuple[str, Any]]]]
"""Times in seconds, and the fields of each sent message in their order."""

ANSWERS: dict[str, list[str | float | Exception]] = {
    "": [],
    "slow": [0.4, "One ", 0.4, "two ", 0.4, "three."],
    "quick": ["At ", "", "once. ", 0.4, "Größe “M” 🙂"],
    "breaks": [0.4, "One ", 0.4, ValueError("no more")],
    "fails": [ValueError("nothing at all")],
}


async def reply_deltas(said: str) -> AsyncGenerator[str, None]:
    for step in ANSWERS[said]:
        if isinstance(step, Exception):
            raise step
        if isinstance(step, float):
            await asyncio.sleep(step)
        else:
            yield step


class ScriptedSocket:
    """The part of a websocket that the library uses: plays a script and records the sent messages."""

    def __init__(self, script: Script) -> None:
        self.steps = iter(script)
        self.sent: Sent = []

    async def recv(self) -> str | bytes:
        for step in self.steps:
            if not isinstance(step, float | int):
                return step
            await asyncio.sleep(step)
        raise ConnectionError

    async def send(self, data: str) -> None:
        self.sent.append((asyncio.get_running_loop().time(), list(json.loads(data).items())))


async def run_library(script: Script) -> Sent:
    """Return the messages that the library's session sends."""
    socket = ScriptedSocket(script)
    session = library.SpeechEngineSession(socket)

    async def heard(transcript: list[Any]) -> None:
        words = [message.content for message in transcript if message.role == "user"]
        await session.send_response(reply_deltas(["", *words][-1]))

    session.on("user_transcript", heard)
    await session.run()
    return socket.sent


async def run_codec(script: Script) -> Sent:
    """Return the messages that the codec sends, with a minimal session around it."""
    socket, codec = ScriptedSocket(script), SpeechEngineCodec()
    turn: SpeechEngineTurn | None = None
    task: asyncio.Task[None] | None = None

    async def send(data: bytes) -> None:
        for line in data.splitlines():
            await socket.send(line.decode())

    async def reply(turn: SpeechEngineTurn, said: str) -> None:
        try:
            async with aclosing(reply_deltas(said)) as deltas:
                async for delta in deltas:
                    turn.text_delta(delta)
                    await send(turn.drain())
        except ValueError:
            pass
        await send(turn.finish("stop", None))

    async def stop() -> None:
        if turn is not None and task is not None:
            await send(turn.stop())
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    try:
        while True:
            match codec.receive(await socket.recv()):
                case ProtocolReply(frame):
                    await send(frame)
                case TurnRequested() as request:
                    await stop()
                    turn = codec.begin_turn(request)
                    task = asyncio.create_task(reply(turn, request.user_text))
                    await asyncio.sleep(0)
                case CallEnded():
                    return socket.sent
    except ConnectionError:
        return socket.sent
    finally:
        await stop()


def transcript(said: str, id: Any = None, **more: Any) -> str:
    entries = [{"role": "agent", "content": "Hello."}, {"role": "user", "content": said}]
    return json.dumps({"type": "user_transcript", "user_transcript": entries, "event_id": id, **more})


INIT = '{"type":"init","conversation_id":"conv_1"}'
PING = '{"type":"ping"}'
CLOSE = '{"type":"close"}'
ERROR = '{"type":"error","message":"trouble"}'


def words(sent: Sent) -> list[tuple[float, Any, Any]]:
    """Return time, event_id and content of each message; None for a final message, "ping" for a pong."""
    found = []
    for when, fields in sent:
        frame = dict(fields)
        said = "ping" if frame["type"] == "pong" else None if frame["is_final"] else frame["content"]
        found.append((when, frame.get("event_id"), said))
    return found


SCRIPTS: dict[str, tuple[Script, list[tuple[float, Any, Any]]]] = {
    "a plain turn": (
        [INIT, 1.0, transcript("slow", 1), 5.0],
        [(1.4, 1, "One "), (1.8, 1, "two "), (2.2, 1, "three."), (2.2, 1, None)],
    ),
    "an answer that begins at once": (
        [INIT, transcript("quick", 1), 5.0],
        [(0.0, 1, "At "), (0.0, 1, "once. "), (0.4, 1, "Größe “M” 🙂"), (0.4, 1, None)],
    ),
    "an answer without a word": ([transcript("", 1), 1.0], [(0.0, 1, None)]),
    "an empty transcript": (
        [transcript("", 1, user_transcript=[]), 1.0, transcript("", 2, user_transcript=None), 1.0],
        [(0.0, 1, None), (1.0, 2, None)],
    ),
    "a transcript that is missing": (['{"type":"user_transcript","event_id":4}', 1.0], [(0.0, 4, None)]),
    "frames of bytes": (
        [PING.encode(), transcript("quick", 1).encode(), b"\xff", 0.1],
        [(0.0, None, "ping"), (0.0, 1, "At "), (0.0, 1, "once. ")],
    ),
    "a ping in the middle": (
        [transcript("slow", 1), 1.0, PING, 5.0],
        [(0.4, 1, "One "), (0.8, 1, "two "), (1.0, None, "ping"), (1.2, 1, "three."), (1.2, 1, None)],
    ),
    "superseded": (
        [transcript("slow", 1), 0.5, transcript("quick", 2), 5.0],
        [(0.4, 1, "One "), (0.5, 2, "At "), (0.5, 2, "once. "), (0.9, 2, "Größe “M” 🙂"), (0.9, 2, None)],
    ),
    "superseded before its first word": ([transcript("slow", 1), transcript("", 2), 5.0], [(0.0, 2, None)]),
    "superseded by a lower number": (
        [transcript("slow", 2), 0.5, transcript("", 1), 5.0],
        [(0.4, 2, "One "), (0.5, 1, None)],
    ),
    "the same number in the middle": (
        [transcript("slow", 1), 0.5, transcript("quick", 1), 5.0],
        [(0.4, 1, "One "), (0.8, 1, "two "), (1.2, 1, "three."), (1.2, 1, None)],
    ),
    "the same number after the end": (
        [transcript("slow", 1), 2.0, transcript("", 1), 1.0],
        [(0.4, 1, "One "), (0.8, 1, "two "), (1.2, 1, "three."), (1.2, 1, None), (2.0, 1, None)],
    ),
    "no number": (
        [transcript("slow"), 0.5, transcript("slow"), 0.5, '{"type":"user_transcript"}', 1.0],
        [(0.4, None, "One "), (0.9, None, "One "), (1.0, None, None)],
    ),
    "closed in the middle": ([transcript("slow", 1), 0.5, CLOSE, PING, 5.0], [(0.4, 1, "One ")]),
    "lost in the middle": ([transcript("slow", 1), 0.5], [(0.4, 1, "One ")]),
    "an error in the middle": (
        [transcript("slow", 1), 0.5, ERROR, 5.0],
        [(0.4, 1, "One "), (0.8, 1, "two "), (1.2, 1, "three."), (1.2, 1, None)],
    ),
    "what nobody knows in the middle": (
        [transcript("slow", 1), 0.5, '{"type":"mood"}', "{}", "{", "[]", '"ping"', "", 5.0],
        [(0.4, 1, "One "), (0.8, 1, "two "), (1.2, 1, "three."), (1.2, 1, None)],
    ),
    "an agent that breaks off": ([transcript("breaks", 1), 5.0], [(0.4, 1, "One "), (0.8, 1, None)]),
    "an agent that fails at once": ([transcript("fails", 1), 5.0], [(0.0, 1, None)]),
}


@pytest.mark.parametrize(("script", "expected"), SCRIPTS.values(), ids=SCRIPTS)
async def test_codec_and_library_send_the_same_at_the_same_times(
    script: Script, expected: list[tuple[float, Any, Any]]
) -> None:
    started = asyncio.get_running_loop().time()
    sent = await run_codec(script)
    assert words(sent) == expected
    again = asyncio.get_running_loop().time()
    assert relative_to(await run_library(script), again) == relative_to(sent, started)


def relative_to(sent: Sent, started: float) -> Sent:
    return [(round(when - started, 9), fields) for when, fields in sent]


INVALID_ENTRIES: dict[str, Any] = {
    "no role": {"content": "x"},
    "no content": {"role": "user"},
    "no entry": "hello",
    "null": None,
}


@pytest.mark.parametrize("entry", INVALID_ENTRIES.values(), ids=INVALID_ENTRIES)
async def test_invalid_entry_is_left_out_where_the_library_does_not_answer(entry: Any) -> None:
    entries = [entry, {"role": "user", "content": ""}]
    script: Script = [transcript("slow", 1), 0.5, transcript("", 2, user_transcript=entries), 5.0]
    assert words(await run_library(script)) == [(0.4, 1, "One ")]
    assert [said for _, *said in words(await run_codec(script))] == [[1, "One "], [2, None]]


@pytest.mark.parametrize("entries", [7, True, "hello", {"role": "user"}])
async def test_invalid_transcript_is_empty_where_the_library_does_not_answer(entries: Any) -> None:
    script: Script = [transcript("", 1, user_transcript=entries), 1.0]
    assert await run_library(script) == []
    assert words(await run_codec(script))[0][1:] == (1, None)


@pytest.mark.parametrize("content", [None, 7, ["x"]])
async def test_invalid_content_is_left_out_where_the_library_closes_the_socket(content: Any) -> None:
    script: Script = [transcript("", 1, user_transcript=[{"role": "user", "content": content}]), PING, 1.0]
    with pytest.raises(ValueError, match="content"):
        await run_library(script)
    assert [said for _, *said in words(await run_codec(script))] == [[1, None], [None, "ping"]]


@pytest.mark.parametrize("id", ["1", 1.5, True, [1]])
async def test_event_id_must_be_an_integer_unlike_in_the_library(id: Any) -> None:
    assert words(await run_library([transcript("", id), 1.0])) == [(0.0, id, None)]
    assert await run_codec([transcript("", id), 1.0]) == []


FRAMES = st.one_of(
    st.sampled_from([PING, ERROR, INIT, CLOSE, "{", "[]", "{}", '{"type":"mood"}']),
    st.builds(transcript, st.sampled_from(sorted(ANSWERS)), st.none() | st.integers(0, 2)),
)
STEPS = st.lists(st.sampled_from([1.0, 2.0]) | FRAMES, max_size=12)


@given(STEPS)
def test_codec_and_library_send_the_same_for_any_script(script: Script) -> None:
    """Whole seconds never meet the time of a delta, so that the order within one step does not count."""
    assert run(run_codec, script) == run(run_library, script)


def run(how: Callable[[Script], Coroutine[Any, Any, Sent]], script: Script) -> Sent:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(how(script))
