"""Plays a script on a websocket: sends what the platform would, keeps its times, and tapes what comes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Protocol, TypeAlias

from voicegw.rehearsal.caller import Caller, Frame
from voicegw.rehearsal.script import Script, Step
from voicegw.rehearsal.tape import Returned, Tape, Taped

PARTIAL, BACK, SETTLE = 0.05, 0.2, 0.3
"""Seconds between partial words, until a lost platform comes back, and to listen for what comes too late."""
PACE = 15.0
"""Characters of speech per second, to tell what a caller heard before speaking."""
SHOWN = 400
"""Characters of a frame that are kept for the log."""
MOST = 20_000
"""Frames of a call; more are no call's."""


class Refused(Exception):
    """The handshake was answered with another status than 101."""

    def __init__(self, status: int) -> None:
        super().__init__(f"the handshake was refused with status {status}")
        self.status = status


class Gone(Exception):
    """The socket is closed, with this code."""

    def __init__(self, code: int) -> None:
        super().__init__(f"the gateway closed the connection with code {code}")
        self.code = code


class Over(Exception):
    """The rehearsal cannot go on."""


class Socket(Protocol):
    """One websocket. Everything but `abort` raises `Gone` once it is closed."""

    async def send(self, frame: Frame) -> None: ...
    async def receive(self) -> Frame: ...
    async def close(self) -> None: ...
    def abort(self) -> None:
        """Lose the connection, without a farewell."""
        ...


Dial: TypeAlias = Callable[[str, Mapping[str, str]], Awaitable[Socket]]
"""Opens a socket to an address, with these headers. Raises `Refused` or OSError."""


class Call:
    """One rehearsed call. `proof`: a false proof is tried first, which a gateway has to refuse."""

    def __init__(self, caller: Caller, script: Script, url: str, dial: Dial, *, proof: bool = False) -> None:
        self.caller = caller
        self.script = script
        self.address = caller.address(url)
        self.dial = dial
        self.proof = proof
        self.tape = Tape()
        self.news = asyncio.Event()
        self.loop = asyncio.get_running_loop()
        self.began = self.loop.time()
        self._socket: Socket | None = None
        self._lost = ""  # why there is no connection any more
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def now(self) -> float:
        return self.loop.time() - self.began

    async def play(self) -> Tape:
        """Play the script to its end, or as far as the gateway lets it."""
        try:
            if self.proof:
                await self._try_forged()
            await self._connect(again=False)
            for step in self.script.turns:
                await self._turn(step)
                if self.tape.over or step.hang_up is not None:
                    break
            await self._listen(SETTLE)
        except (Over, Gone) as over:
            self.tape.failure = str(over)
        finally:
            await self._leave()
        return self.tape

    # The socket

    async def _open(self, *, forged: bool) -> Socket:
        headers = self.caller.headers(self.address, forged=forged)
        async with asyncio.timeout(self.script.patience.connect):
            return await self.dial(self.address, headers)

    async def _try_forged(self) -> None:
        try:
            socket = await self._open(forged=True)
        except Refused as refusal:
            self.tape.forged = refusal.status
        except OSError as error:
            raise Over(f"no connection: {error}") from None
        else:
            self.tape.forged = 101
            await socket.close()

    async def _connect(self, *, again: bool) -> None:
        try:
            self._socket = await self._open(forged=False)
        except Refused as refusal:
            self.tape.status = refusal.status
            raise Over(str(refusal)) from None
        except TimeoutError:
            raise Over(f"no connection within {self.script.patience.connect:g} s") from None
        except OSError as error:
            raise Over(f"no connection: {error}") from None
        self.tape.status = 101
        self.tape.opened = self.now if self.tape.opened is None else self.tape.opened
        self.tape.closed, self._lost = None, ""
        self._tasks = [asyncio.ensure_future(self._read(self._socket))]
        if self.caller.every is not None:
            self._tasks.append(asyncio.ensure_future(self._keep_pinging(self.caller.every)))
        await self._send(self.caller.open(again=again))

    async def _send(self, frames: Sequence[Frame]) -> None:
        for frame in frames:
            self._note(">", frame)
            if self._socket is not None:
                await self._socket.send(frame)

    async def _read(self, socket: Socket) -> None:
        try:
            while True:
                frame = await socket.receive()
                self._note("<", frame)
                for heard in self.caller.hear(frame):
                    self.tape.hear(heard, self.now)
                    if isinstance(heard, Returned):
                        await self._send(heard.frames)
                if len(self.tape.log) > MOST:
                    return self._lose(f"the gateway sends more than {MOST} frames")
                self.news.set()
        except Gone as gone:
            self.tape.closed = (self.now, gone.code)
            self._lose(str(gone))

    def _lose(self, why: str) -> None:
        self._note("!", why)
        self._lost = why
        self.news.set()

    async def _keep_pinging(self, every: float) -> None:
        with suppress(Gone):
            while True:
                await asyncio.sleep(every)
                await self._ping()

    async def _ping(self) -> None:
        if frames := self.caller.ping():
            self.tape.pings.append((self.now, None))
            await self._send(frames)

    def _note(self, kind: str, frame: Frame) -> None:
        text = frame if isinstance(frame, str) else repr(frame)
        self.tape.log.append((self.now, kind, text if len(text) <= SHOWN else f"{text[:SHOWN]}…"))

    async def _hang_up(self, *, farewell: bool) -> None:
        socket, self._socket = self._socket, None
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if socket is not None and farewell:
            with suppress(Gone, TimeoutError):
                async with asyncio.timeout(self.script.patience.connect):
                    await socket.close()
        elif socket is not None:
            socket.abort()

    async def _leave(self) -> None:
        with suppress(Gone):
            await self._send(self.caller.leave())
        await self._hang_up(farewell=True)

    # Turns

    async def _turn(self, step: Step) -> None:
        await self._listen(step.wait)
        if step.nonsense:
            await self._send(self.caller.nonsense())
        for words in step.partial:
            await self._send(self.caller.partial(words))
            await self._listen(PARTIAL)
        turn = self._begin(step)
        frames = self.caller.ask(step.say) if step.press is None else self.caller.press(step.press)
        if not frames:
            self.tape.turns.pop()  # not on this platform
            return
        await self._send(frames)
        await self._ping()
        if step.again is not None and not await self._until(lambda: bool(turn.ends), step.again):
            await self._send(self.caller.repeat())
        await self._go_on(step, turn)

    def _begin(self, step: Step) -> Taped:
        now = self.now
        for older in self.tape.turns[-1:]:
            if not older.ends and older.stopped is None:
                older.stopped = now
        turn = Taped(step, now)
        self.tape.turns.append(turn)
        return turn

    async def _go_on(self, step: Step, turn: Taped) -> None:
        """What happens while the agent answers."""
        if step.interrupt is not None:
            await self._interrupt(step.interrupt, turn)
        elif step.next is not None:
            await self._listen(turn.asked + step.next - self.now)
        elif step.hang_up is not None:
            await self._listen(turn.asked + step.hang_up - self.now)
        else:
            if step.drop is not None:
                await self._drop(step.drop, turn)
            await self._answered(lambda: bool(turn.ends))

    async def _interrupt(self, after: float, turn: Taped) -> None:
        await self._answered(lambda: turn.first is not None or bool(turn.ends))
        await self._listen(after)
        heard = turn.text[: int(PACE * (self.now - turn.asked - (turn.first or 0.0)))]
        heard = turn.text if len(heard) == len(turn.text) else heard.rpartition(" ")[0]
        turn.stopped = self.now
        await self._send(self.caller.interrupt(heard))
        await self._listen(self.script.patience.stop + SETTLE)

    async def _drop(self, after: float, turn: Taped) -> None:
        await self._listen(turn.asked + after - self.now)
        self._note("!", "the connection is lost")
        turn.lost = self.now
        await self._hang_up(farewell=False)
        await asyncio.sleep(BACK)
        await self._connect(again=True)

    async def _answered(self, found: Callable[[], bool]) -> None:
        within = self.script.patience.answer
        if not await self._until(found, within):
            raise Over(f"turn {len(self.tape.turns)} was not answered within {within:g} s")

    async def _until(self, found: Callable[[], bool], within: float) -> bool:
        """Listen until something is found, at most so many seconds. Raises `Over` without a connection."""
        with suppress(TimeoutError):
            async with asyncio.timeout(max(within, 0.0)):
                while not found() and not self.tape.over:
                    if self._lost:
                        raise Over(self._lost)
                    self.news.clear()
                    await self.news.wait()
        return found() or self.tape.over

    async def _listen(self, seconds: float) -> None:
        if seconds > 0:
            await self._until(lambda: False, seconds)
