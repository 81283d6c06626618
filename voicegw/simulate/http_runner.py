"""Runs a script by HTTP requests: posts the platform's requests, and reads the answers.

Scripts of platforms with a websocket are run by `voicegw.simulate.call_runner`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from voicegw.simulate.call_runner import PARTIAL_INTERVAL, RECONNECT_DELAY
from voicegw.simulate.connection import SimulationStopped
from voicegw.simulate.http_checks import HttpRecording, RecordedStream
from voicegw.simulate.http_exchange import HttpExchange, PostRequest
from voicegw.simulate.http_platform import PlatformRequest, SimulatedHttpPlatform
from voicegw.simulate.platform import CHARS_PER_SECOND
from voicegw.simulate.recording import RecordedTurn, Violation
from voicegw.simulate.script import CallScript, CallStep

MAX_TOOL_ROUNDS = 8
"""Requests of one turn: the question, and the results of tools. More are reported as a violation."""
FATAL_STATUSES = frozenset({401, 403, 404, 405})
"""Statuses that a further request cannot change: the key or the address is wrong."""


class HttpRunner:
    """Runs one simulated call by HTTP requests.

    With `try_wrong_key`, it first sends a request with a wrong key, which a gateway has to refuse.
    """

    def __init__(
        self,
        platform: SimulatedHttpPlatform,
        script: CallScript,
        post: PostRequest,
        *,
        try_wrong_key: bool = False,
    ) -> None:
        self.platform = platform  # builds the requests
        self.script = script  # the caller's turns
        self.try_wrong_key = try_wrong_key
        self.recording = HttpRecording()  # filled by the run
        # Sends the requests and records the answers.
        self.exchange = HttpExchange(post, self.recording, platform.offered_tools)
        self._tasks: list[asyncio.Task[Any]] = []
        self._duplicate: asyncio.Task[RecordedStream] | None = None  # the second of two identical requests

    @property
    def now(self) -> float:
        """Seconds since the simulation began."""
        return self.exchange.now

    async def run(self) -> HttpRecording:
        """Run the script to its end, or as far as the gateway lets it; then send the probes.

        An early end is the recording's `failure`; only bugs of the simulation itself raise.
        """
        try:
            if self.try_wrong_key:
                probe = self.platform.build_wrong_key_probe()
                await self.exchange.send_probe(probe, self.script.patience.answer)
            for number, step in enumerate(self.script.turns, 1):
                await self._run_turn(number, step)
                if self.recording.agent_ended_call or step.hang_up is not None:
                    break
            await self._close_requests()
            for probe in self.platform.build_probes():
                await self.exchange.send_probe(probe, self.script.patience.answer)
        except SimulationStopped as stopped:
            self.recording.failure = str(stopped)
        finally:
            with suppress(SimulationStopped):
                await self._close_requests()
        return self.recording

    # The tasks that send requests

    def _start_task(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.ensure_future(work)
        task.add_done_callback(lambda task: self.exchange.activity.set())
        self._tasks.append(task)
        return task

    async def _close_requests(self) -> None:
        """Close the connections of unfinished answers. Raises the errors of the tasks."""
        tasks, self._tasks, self._duplicate = self._tasks, [], None
        for task in tasks:
            task.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(result, Exception):
                raise result

    @property
    def _is_idle(self) -> bool:
        return all(task.done() for task in self._tasks)

    async def _wait_for_answer(self, condition: Callable[[], bool] = lambda: False) -> None:
        """Wait until the condition holds or all requests are answered.

        Raises `SimulationStopped` after the answer timeout.
        """
        timeout = self.script.patience.answer
        if not await self._wait_until(lambda: condition() or self._is_idle, timeout):
            raise SimulationStopped(
                f"turn {self.recording.turns[-1].number} was not answered within {timeout:g} s"
            )
        if self._is_idle:
            await self._close_requests()

    async def _wait_until(self, condition: Callable[[], bool], max_wait: float) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(max(max_wait, 0.0)):
                while not condition():
                    self.exchange.activity.clear()
                    await self.exchange.activity.wait()
        return condition()

    async def _listen(self, seconds: float) -> None:
        if seconds > 0:
            await self._wait_until(lambda: self.recording.agent_ended_call, seconds)

    # Turns

    async def _run_turn(self, number: int, step: CallStep) -> None:
        await self._listen(step.wait)
        if self.recording.agent_ended_call:
            return
        if step.kind in self.platform.traits.unsupported_steps:
            self.recording.skipped_steps.append((number, step))
            return
        await self._supersede()
        await self._send_partials(step)
        index, self.exchange.audible_stream = len(self.recording.turns), None
        turn = RecordedTurn(step, self.now, number, stops_playback=self.platform.traits.stops_playback)
        self.recording.turns.append(turn)
        try:
            self._start_task(self._run_requests(index, self.platform.ask(step.say, unusual=step.nonsense)))
            if step.again is not None and not await self._wait_until(lambda: self._is_idle, step.again):
                request = self.platform.repeat(after_loss=False)
                self._duplicate = self._start_task(self.exchange.send(request, f"turn {number}, asked again"))
            await self._run_answer(step, index)
        finally:
            turn.wait_ended_at = self.now
        if self.recording.connected_at is None and self._is_idle:
            self._stop_if_refused()

    async def _send_partials(self, step: CallStep) -> None:
        """Send a request for each partial transcript, and close it soon after."""
        for text in step.partial:
            request = self.platform.ask_partial(text)
            self._start_task(self.exchange.send(request, "a partial transcript"))
            await self._listen(PARTIAL_INTERVAL)
            await self._close_requests()

    def _stop_if_refused(self) -> None:
        """Raise `SimulationStopped` if the first request failed in a way that further ones cannot change."""
        last = self.recording.streams[-1]
        if last.failure:
            raise SimulationStopped(f"no answer: {last.failure}")
        if last.status in FATAL_STATUSES:
            self.recording.refusal_body = last.refusal_body
            raise SimulationStopped(f"the request was refused with status {last.status}")

    async def _run_answer(self, step: CallStep, index: int) -> None:
        """Carry out the rest of the step while the agent answers."""
        turn = self.recording.turns[index]
        if step.interrupt is not None:
            await self._wait_for_answer(lambda: turn.first_text_delay is not None)
            await self._listen(step.interrupt)
            has_ended = self.recording.agent_ended_call or bool(turn.failure)
            if turn.first_text_delay is not None and not has_ended:
                await self._interrupt(turn)
        elif step.next is not None:
            await self._listen(turn.asked_at + step.next - self.now)
        elif step.hang_up is not None:
            await self._listen(turn.asked_at + step.hang_up - self.now)
            turn.caller_hung_up = not self.recording.agent_ended_call
        else:
            if step.drop is not None:
                await self._drop(step.drop, index)
            await self._wait_for_answer()

    async def _supersede(self) -> None:
        """Interrupt the previous turn if it is still being answered: a newer one begins."""
        if not self._is_idle:
            await self._interrupt(self.recording.turns[-1])
        else:
            await self._close_requests()

    async def _interrupt(self, turn: RecordedTurn) -> None:
        heard_text = self._heard_text()
        turn.stopped_at = self.now
        await self._close_requests()
        self.platform.record_heard(heard_text)

    def _heard_text(self) -> str:
        """Return the part of the current answer that is spoken by now."""
        stream = self.exchange.audible_stream
        if stream is None or not stream.texts:
            return ""
        started_at = next((at for at, text in stream.texts if text.strip()), self.now)
        spoken = stream.text[: int(CHARS_PER_SECOND * (self.now - started_at))]
        return spoken if len(spoken) == len(stream.text) else spoken.rpartition(" ")[0]

    async def _drop(self, delay: float, index: int) -> None:
        turn = self.recording.turns[index]
        await self._wait_until(lambda: self._is_idle, turn.asked_at + delay - self.now)
        if self._is_idle:
            return  # the answer is complete: there is no connection to lose
        self.exchange.log("!", "the connection is lost")
        turn.lost_at = self.now
        await self._close_requests()
        await asyncio.sleep(RECONNECT_DELAY)
        turn.repeated_at = self.now
        self._start_task(self._run_requests(index, self.platform.repeat(after_loss=True)))

    async def _run_requests(self, index: int, request: PlatformRequest) -> None:
        """Send the request of a turn, then one with the results of tools, until no tool is called."""
        turn = self.recording.turns[index]
        for _ in range(MAX_TOOL_ROUNDS):
            first = await self.exchange.send(request, f"turn {turn.number}", index)
            stream = await self._choose_stream(first, turn)
            turn.status = stream.status
            if not stream.is_complete:
                turn.failure = stream.failure_reason
                return self.platform.record_heard(stream.text)
            following = self.platform.follow_up(stream.text, stream.tool_calls)
            if following is None:
                turn.end_times.append(self.now if stream.done_at is None else stream.done_at)
                self.recording.agent_ended_call = self.platform.is_hangup(stream.tool_calls)
                return
            request = following
        reason = f"tools are called {MAX_TOOL_ROUNDS} times, without an end"
        self.recording.violations.append(Violation("tools", reason, f"turn {turn.number}"))

    async def _choose_stream(self, stream: RecordedStream, turn: RecordedTurn) -> RecordedStream:
        """Return the one of two answers to identical requests that the caller hears: the longer one."""
        duplicate, self._duplicate = self._duplicate, None
        if duplicate is None:
            return stream
        other = await duplicate
        self.recording.duplicate_streams.append((stream, other))
        if other.is_complete and (not stream.is_complete or len(other.text) > len(stream.text)):
            turn.texts, turn.actions, self.exchange.audible_stream = other.texts, other.actions, other
            return other
        return stream
