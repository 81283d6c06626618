"""Runs a script on a websocket: acts as the caller and the platform would, at the same times.

Scripts of platforms with HTTP requests are run by `voicegw.simulate.http_runner`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from voicegw.simulate.connection import CallConnection, OpenSocket, SimulationStopped, SocketClosed
from voicegw.simulate.platform import CHARS_PER_SECOND, SimulatedPlatform
from voicegw.simulate.recording import RecordedTurn, Recording
from voicegw.simulate.script import CallScript, CallStep

PARTIAL_INTERVAL = 0.05
"""Seconds after each partial transcript."""
RECONNECT_DELAY = 0.2
"""Seconds after which the platform replaces a lost connection."""
SETTLE_TIME = 0.3
"""Seconds to listen for text that arrives too late."""


class AnswerTimeout(SimulationStopped):
    """The answer to a turn took too long."""


class CallRunner:
    """Runs one simulated call on a websocket.

    With `try_forged`, it first connects with a wrong proof, which a gateway has to refuse.
    """

    def __init__(
        self,
        platform: SimulatedPlatform,
        script: CallScript,
        url: str,
        open_socket: OpenSocket,
        *,
        try_forged: bool = False,
    ) -> None:
        self.platform = platform  # encodes and decodes the frames
        self.script = script  # the caller's turns
        self.try_forged = try_forged
        self.recording = Recording()  # filled by the run
        self.connection = CallConnection(
            platform, script.patience, platform.build_url(url), open_socket, self.recording
        )

    async def run(self) -> Recording:
        """Run the script to its end, or as far as the gateway lets it.

        An early end is the recording's `failure`; only bugs of the simulation itself raise.
        """
        try:
            if self.try_forged:
                await self.connection.try_forged()
            await self.connection.connect(reconnecting=False)
            await self._wait_for_greeting()
            await self._run_turns()
        except SimulationStopped as stopped:
            self.recording.failure = str(stopped)
        except SocketClosed as closed:
            self.recording.failure = str(closed)
            self.recording.gateway_close = self.recording.gateway_close or (self.connection.now, closed.code)
        finally:
            await self._hang_up()
        return self.recording

    async def _run_turns(self) -> None:
        for number, step in enumerate(self.script.turns, 1):
            await self._run_turn(number, step)
            if self.recording.agent_ended_call:
                break
            if step.hang_up is not None:
                return
        await self._settle()

    async def _wait_for_greeting(self) -> None:
        """Listen for a greeting, until no more text of it arrives within the platform's `greeting_wait`."""
        count, deadline = -1, self.connection.now + self.script.patience.answer
        while (
            len(self.recording.greeting) > count
            and self.connection.now < deadline
            and not self.recording.agent_ended_call
        ):
            count = len(self.recording.greeting)
            await self._listen(self.platform.traits.greeting_wait)

    async def _settle(self) -> None:
        """Listen for late text. If the agent ended the call, the gateway may close the connection too."""
        if not self.recording.agent_ended_call:
            await self._listen(SETTLE_TIME)
        else:
            with suppress(SimulationStopped):
                await self.connection.wait_until(lambda: False, SETTLE_TIME)

    async def _hang_up(self) -> None:
        with suppress(SocketClosed):
            await self.connection.send(self.platform.hang_up())
        await self.connection.disconnect(graceful=True)

    async def _run_turn(self, number: int, step: CallStep) -> None:
        await self._listen(step.wait)
        if self.recording.agent_ended_call:
            return
        if step.kind in self.platform.traits.unsupported_steps and not self._is_false_interruption(step):
            self.recording.skipped_steps.append((number, step))
            return
        if step.nonsense:
            self.recording.malformed_before.append(number)
            await self.connection.send(self.platform.encode_malformed())
        for text in step.partial:
            await self.connection.send(self.platform.encode_partial(text))
            await self._listen(PARTIAL_INTERVAL)
        self.platform.may_reply_twice = step.refused is not None
        frames = self.platform.ask(step.say) if step.press is None else self.platform.press(step.press)
        turn = self._begin_turn(number, step)
        turn.is_unprompted = not frames
        try:
            await self.connection.send(frames)
            await self.connection.ping()
            await self._repeat(step, turn)
            await self._interrupt_older(step, turn)
            await self._run_answer(step, turn)
        except (SocketClosed, SimulationStopped) as error:
            if not isinstance(error, AnswerTimeout):
                turn.failure = f"{error}{' in mid-answer' if turn.texts else ''}"
            raise
        finally:
            turn.wait_ended_at = self.connection.now

    def _is_false_interruption(self, step: CallStep) -> bool:
        """Has the caller interrupted the agent, and says nothing now, which the platform does not report?"""
        last = self.recording.turns[-1:]
        was_interrupted = any(turn.step.interrupt is not None for turn in last)
        return step.silent and was_interrupted and self.platform.traits.reports_no_silence

    async def _interrupt_older(self, step: CallStep, turn: RecordedTurn) -> None:
        if step.late_interrupt is None or len(self.recording.turns) < 2:
            return
        if await self._wait_until(lambda: bool(turn.end_times), step.late_interrupt):
            return
        heard_text = self.recording.turns[-2].text.rstrip().rpartition(" ")[0]
        if frames := self.platform.interrupt(heard_text, older=True):
            turn.late_interrupt_at = self.connection.now
            await self.connection.send(frames)

    async def _repeat(self, step: CallStep, turn: RecordedTurn) -> None:
        if step.again is not None and not await self._wait_until(lambda: bool(turn.end_times), step.again):
            turn.repeated_at = self.connection.now if self.platform.traits.repeats_as_new_request else None
            await self.connection.send(self.platform.repeat())

    def _begin_turn(self, number: int, step: CallStep) -> RecordedTurn:
        now = self.connection.now
        for older in self.recording.turns[-1:]:
            if not older.end_times and older.stopped_at is None:
                older.stopped_at = now
        turn = RecordedTurn(step, now, number, stops_playback=self.platform.traits.stops_playback)
        self.recording.turns.append(turn)
        return turn

    async def _run_answer(self, step: CallStep, turn: RecordedTurn) -> None:
        """Carry out the rest of the step while the agent answers."""
        if step.interrupt is not None:
            await self._interrupt(step.interrupt, turn)
        elif step.next is not None:
            await self._listen(turn.asked_at + step.next - self.connection.now)
        elif step.hang_up is not None:
            await self._listen(turn.asked_at + step.hang_up - self.connection.now)
            turn.caller_hung_up = not self.recording.agent_ended_call
        else:
            if step.drop is not None:
                await self._drop(step.drop, turn)
            await self._wait_for_answer(lambda: bool(turn.end_times))
            if step.refused is not None:
                await self._wait_until(lambda: turn.takes_back, self.script.patience.silence)
            if self._may_be_answered_twice(step):
                await self._listen(SETTLE_TIME)

    def _may_be_answered_twice(self, step: CallStep) -> bool:
        """Could a gateway answer this turn twice?"""
        supersedes = any(turn.step.next is not None for turn in self.recording.turns[-2:-1])
        return supersedes or step.drop is not None or step.again is not None

    async def _interrupt(self, delay: float, turn: RecordedTurn) -> None:
        await self._wait_for_answer(lambda: turn.first_text_delay is not None or bool(turn.end_times))
        await self._listen(delay)
        if self.recording.agent_ended_call:
            return
        speech_time = self.connection.now - turn.asked_at - (turn.first_text_delay or 0.0)
        heard_text = turn.text[: int(CHARS_PER_SECOND * speech_time)]
        heard_text = turn.text if len(heard_text) == len(turn.text) else heard_text.rpartition(" ")[0]
        turn.stopped_at = self.connection.now
        await self.connection.send(self.platform.interrupt(heard_text))
        await self._listen(self.script.patience.stop + SETTLE_TIME)

    async def _drop(self, delay: float, turn: RecordedTurn) -> None:
        await self._listen(turn.asked_at + delay - self.connection.now)
        if self.recording.agent_ended_call:
            return
        self.connection.log("!", "the connection is lost")
        turn.lost_at = self.connection.now
        await self.connection.disconnect(graceful=False)
        await asyncio.sleep(RECONNECT_DELAY)
        await self.connection.connect(reconnecting=True, resend=turn.step.resend)
        turn.repeated_at = self.connection.now

    async def _wait_for_answer(self, condition: Callable[[], bool]) -> None:
        timeout = self.script.patience.answer
        if not await self._wait_until(condition, timeout):
            raise AnswerTimeout(
                f"turn {self.recording.turns[-1].number} was not answered within {timeout:g} s"
            )

    async def _wait_until(self, condition: Callable[[], bool], max_wait: float) -> bool:
        """Wait until the condition holds or the agent ends the call, `max_wait` seconds at most."""
        return await self.connection.wait_until(
            lambda: condition() or self.recording.agent_ended_call, max_wait
        )

    async def _listen(self, seconds: float) -> None:
        if seconds > 0:
            await self._wait_until(lambda: False, seconds)
