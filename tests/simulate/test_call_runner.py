"""The runner on a websocket: the caller's actions, their times, and the end of the simulation."""

from __future__ import annotations

import asyncio

import pytest

from tests.simulate.plain_platform import (
    GatewaySocket,
    PlainPlatform,
    SocketOpener,
    answering,
    make_script,
    run_call,
    sent_frames,
    silent_gateway,
)
from voicegw.simulate.call_runner import CallRunner
from voicegw.simulate.checks import COMES_BACK, COMMON, evaluate_checks
from voicegw.simulate.platform import PlatformTraits
from voicegw.simulate.recording import Recording
from voicegw.simulate.script import CallScript


async def test_question_waits_for_the_previous_answer() -> None:
    script = make_script({"say": "Hello?"}, {"say": "Open?", "wait": 0.5}, {"press": "12"})
    steps = (0.25, "say Hi.", 0.25, "done"), ("say Yes.", "done"), ("say One two.", "done")
    recording = await run_call(script, SocketOpener(answering(*steps)))
    assert sent_frames(recording) == [
        (0.0, "hello"),
        (0.0, "ask Hello?"),
        (1.0, "ask Open?"),
        (1.0, "press 12"),
        (1.3, "bye"),
    ]
    assert [(turn.asked_at, turn.texts, turn.end_times) for turn in recording.turns] == [
        (0.0, [(0.25, "Hi.")], [0.5]),
        (1.0, [(1.0, "Yes.")], [1.0]),
        (1.0, [(1.0, "One two.")], [1.0]),
    ]
    assert (
        recording.failure,
        recording.status,
        recording.connected_at,
        recording.gateway_close,
        recording.forged_status,
    ) == ("", 101, 0.0, None, None)


async def test_log_has_all_frames_in_order_and_shortens_long_ones() -> None:
    recording = await run_call(
        make_script({"say": "x" * 500, "nonsense": True}), SocketOpener(answering(["say Hi.", "done"]))
    )
    assert recording.log[:5] == [
        (0.0, ">", "hello"),
        (0.0, ">", r"b'\xff'"),
        (0.0, ">", f"ask {'x' * 396}…"),
        (0.0, "<", "say Hi."),
        (0.0, "<", "done"),
    ]


async def test_partial_transcripts_are_sent_before_the_question() -> None:
    recording = await run_call(
        make_script({"say": "Open now?", "partial": ["Op", "Open"]}), SocketOpener(answering(["done"]))
    )
    assert sent_frames(recording)[1:4] == [
        (0.0, "perhaps Op"),
        (0.05, "perhaps Open"),
        (0.1, "ask Open now?"),
    ]


async def test_interruption_follows_the_first_text_and_has_the_heard_text() -> None:
    script = make_script({"say": "Hello?", "interrupt": 1}, {"say": "Wait."})
    steps = (0.5, "say We are open from nine", 9.0), ("say Yes.", "done")
    recording = await run_call(script, SocketOpener(answering(*steps)))
    assert (1.5, "stop at 'We are open'") in sent_frames(recording)
    assert (2.05, "ask Wait.") in sent_frames(recording)
    assert [turn.outcome for turn in recording.turns] == ["stopped", "answered"]
    assert recording.turns[0].stopped_at == 1.5


async def test_interruption_after_the_whole_answer_was_spoken_heard_all_of_it() -> None:
    recording = await run_call(
        make_script({"say": "Hello?", "interrupt": 1}), SocketOpener(answering(["say We are open.", "done"]))
    )
    assert (1.0, "stop at 'We are open.'") in sent_frames(recording)
    assert recording.turns[0].outcome == "stopped"


async def test_text_after_the_interruption_is_late() -> None:
    async def gateway(socket: GatewaySocket) -> None:
        await socket.inbox.get()
        await socket.inbox.get()
        socket.deliver("say We are")
        await socket.inbox.get()
        socket.deliver("say open.")

    recording = await run_call(make_script({"say": "Hello?", "interrupt": 1}), SocketOpener(gateway))
    assert (recording.turns[0].text, recording.turns[0].late_texts) == ("We are", [(1.0, "open.")])


async def test_next_question_stops_the_unanswered_one() -> None:
    script = make_script({"say": "Open?", "next": 0.5}, {"say": "On Monday?"}, {"say": "And?"})
    recording = await run_call(
        script, SocketOpener(answering([0.25, "say We", 9.0], ["say Yes.", "done"], ["done"]))
    )
    assert sent_frames(recording)[1:4] == [(0.0, "ask Open?"), (0.5, "ask On Monday?"), (0.8, "ask And?")]
    assert [(turn.outcome, turn.stopped_at) for turn in recording.turns] == [
        ("stopped", 0.5),
        ("answered", None),
        ("answered", None),
    ]


async def test_next_question_does_not_stop_an_answered_turn() -> None:
    script = make_script({"say": "Open?", "next": 0.5}, {"say": "On Monday?"})
    recording = await run_call(script, SocketOpener(answering(["say Yes.", "done"], ["done"])))
    assert [turn.outcome for turn in recording.turns] == ["answered", "answered"]


async def test_platform_repeats_the_question_unless_it_is_answered() -> None:
    script = make_script({"say": "Open?", "again": 0.5})
    recording = await run_call(script, SocketOpener(answering([1.0, "done"], [0.25, "done"])))
    assert sent_frames(recording)[1:3] == [(0.0, "ask Open?"), (0.5, "ask Open?")]
    assert recording.turns[0].end_times == [0.75]
    recording = await run_call(script, SocketOpener(answering([0.25, "done"])))
    assert [text for _, text in sent_frames(recording)].count("ask Open?") == 1


async def test_second_answer_to_a_repeated_question_is_awaited() -> None:
    recording = await run_call(
        make_script({"say": "Open?", "again": 0}, {"say": "And?"}),
        SocketOpener(answering(["done"], [0.2, "done"], ["done"])),
    )
    assert recording.turns[0].end_times == [0.0, 0.2]


async def test_answer_after_a_lost_connection_belongs_to_the_same_turn() -> None:
    script = make_script({"say": "Open?", "drop": 0.5})
    opener = SocketOpener(answering([0.25, "say We", 9.0]), answering([0.25, "say Yes.", "done"]))
    recording = await run_call(script, opener)
    assert sent_frames(recording)[2:] == [(0.7, "hello again"), (0.7, "ask Open?"), (1.55, "bye")]
    assert (0.5, "!", "the connection is lost") in recording.log
    [turn] = recording.turns
    assert (turn.lost_at, turn.text, turn.end_times, turn.outcome) == (0.5, "WeYes.", [0.95], "answered")
    assert [socket.ended_by for socket in opener.sockets] == ["aborted", "closed"]
    assert (recording.connected_at, recording.current_connection_at) == (0.0, 0.7)


async def test_rejected_reconnect_leaves_the_turn_unanswered() -> None:
    script = make_script({"say": "Open?", "drop": 0.5}, {"say": "And?"})
    recording = await run_call(script, SocketOpener(answering([]), 503))
    assert (recording.failure, recording.status) == ("the handshake was refused with status 503", 503)
    assert len(recording.turns) == 1
    [back] = evaluate_checks([COMES_BACK], recording, script)
    assert back.violations == ("turn 1: no answer: the handshake was refused with status 503",)


async def test_caller_hangs_up_at_the_time_of_the_step() -> None:
    opener = SocketOpener(answering([9.0]))
    recording = await run_call(make_script({"say": "Hello?", "hang_up": 0.5}), opener)
    assert sent_frames(recording)[-1] == (0.5, "bye")
    assert (recording.failure, opener.sockets[0].ended_by) == ("", "closed")


@pytest.mark.parametrize("step", [{"interrupt": 1}, {"drop": 1}, {"hang_up": 1}, {}])
async def test_no_question_follows_after_the_agent_ended_the_call(step: dict[str, float]) -> None:
    turns = [{"say": "Bye.", **step}] if "hang_up" in step else [{"say": "Bye.", **step}, {"say": "More?"}]
    recording = await run_call(
        make_script(*turns), SocketOpener(answering(["say Bye.", "end", 0.2, "say Late."]))
    )
    assert [text for _, text in sent_frames(recording)] == ["hello", "ask Bye.", "bye"]
    assert (recording.agent_ended_call, recording.failure, len(recording.turns)) == (True, "", 1)
    assert (0.2, "<", "say Late.") in recording.log


async def test_close_after_the_agent_ended_the_call_is_no_failure() -> None:
    async def gateway(socket: GatewaySocket) -> None:
        socket.deliver("end")
        socket.deliver_close(1000)

    recording = await run_call(make_script({"say": "Bye.", "wait": 1}), SocketOpener(gateway))
    assert (recording.agent_ended_call, recording.failure, recording.gateway_close, recording.turns) == (
        True,
        "",
        (0.0, 1000),
        [],
    )


async def test_close_from_the_gateway_stops_the_simulation() -> None:
    async def gateway(socket: GatewaySocket) -> None:
        await socket.inbox.get()
        socket.deliver_close(1011)

    script = make_script({"say": "Hello?"}, {"say": "Still there?"})
    recording = await run_call(script, SocketOpener(gateway))
    assert recording.failure == "the gateway closed the connection with code 1011"
    assert (recording.gateway_close, len(recording.turns)) == ((0.0, 1011), 1)
    assert {result.item for result in evaluate_checks(COMMON, recording, script) if result.violations} == {
        "answers",
        "first-words",
    }


async def test_missing_answer_stops_the_simulation_after_the_answer_timeout() -> None:
    script = make_script({"say": "Hello?"}, {"say": "Hello?"}, patience={"answer": 3})
    recording = await run_call(script, SocketOpener(answering(["say Um"])))
    assert recording.failure == "turn 1 was not answered within 3 s"
    assert sent_frames(recording)[-1] == (3.0, "bye")


async def test_unsupported_steps_are_skipped_and_stop_no_turn() -> None:
    script = make_script({"say": "Hello?", "next": 0.5}, {"silent": True}, {"say": "And?"})
    recording = await run_call(script, SocketOpener(answering([0.75, "done"], ["done"])))
    assert [turn.step.say for turn in recording.turns] == ["Hello?", "And?"]


async def test_forged_handshake_is_tried_first() -> None:
    opener = SocketOpener(403, answering(["done"]))
    recording = await run_call(make_script(), opener, try_forged=True)
    assert (recording.forged_status, recording.status) == (403, 101)
    assert opener.opened == [
        ("ws://gateway/call", {"proof": "wrong"}),
        ("ws://gateway/call", {"proof": "right for ws://gateway/call"}),
    ]


async def test_accepted_forged_handshake_is_closed_before_the_call() -> None:
    opener = SocketOpener(silent_gateway, answering(["done"]))
    recording = await run_call(make_script(), opener, try_forged=True)
    assert (recording.forged_status, recording.failure, opener.sockets[0].ended_by) == (101, "", "closed")


async def test_runner_opens_the_url_that_the_platform_builds() -> None:
    call = CallRunner(
        PlainPlatform(), make_script(), "ws://elsewhere", opener := SocketOpener(answering(["done"]))
    )
    assert isinstance(await call.run(), Recording)
    assert opener.opened[0][0] == "ws://elsewhere/call"


def broken_checks(recording: Recording, script: CallScript) -> dict[str, tuple[str, ...]]:
    return {
        found.item: found.violations
        for found in evaluate_checks(COMMON, recording, script)
        if found.violations
    }


async def test_close_after_malformed_frames_breaks_the_nonsense_check() -> None:
    async def gateway(socket: GatewaySocket) -> None:
        while await socket.inbox.get() != b"\xff":
            pass
        socket.deliver_close(1002)

    script = make_script({"say": "Hello?", "nonsense": True, "partial": ["He"], "interrupt": 1})
    recording = await run_call(script, SocketOpener(gateway))
    assert recording.turns == []
    assert broken_checks(recording, script)["nonsense"] == (
        "turn 1: the call ended before it was asked: the gateway closed the connection with code 1002",
    )


@pytest.mark.parametrize("way", [{"interrupt": 1}, {"next": 70}, {"hang_up": 70}])
async def test_missing_answer_is_found_even_if_the_step_would_cut_it_short(way: dict[str, float]) -> None:
    turns = [{"say": "Hello?", **way}, {"say": "And?"}]
    script = make_script(*turns[: 1 if "hang_up" in way else 2], patience={"answer": 60})
    found = broken_checks(await run_call(script, SocketOpener(answering([], []))), script)
    assert "turn 1: no words" in found["first-words"]
    assert ("turn 1: no answer" in found.get("answers", ())) == ("interrupt" in way)


async def test_slow_first_words_before_an_interruption_break_their_check_but_a_quick_hang_up_does_not() -> (
    None
):
    script = make_script({"say": "Hello?", "interrupt": 1})
    recording = await run_call(script, SocketOpener(answering([2.0, "say We", 9.0])))
    assert broken_checks(recording, script)["first-words"] == (
        "turn 1: the first words came after 2.00 s, not within 1 s",
    )
    script = make_script({"say": "Hello?", "hang_up": 0.2})
    assert broken_checks(await run_call(script, SocketOpener(answering([9.0]))), script) == {}


async def test_close_before_the_interruption_breaks_the_answers_check() -> None:
    async def gateway(socket: GatewaySocket) -> None:
        await socket.inbox.get()
        await socket.inbox.get()
        socket.deliver("say We are")
        await asyncio.sleep(0.5)
        socket.deliver_close(1011)

    script = make_script({"say": "Hello?", "interrupt": 1}, {"say": "And?"})
    recording = await run_call(script, SocketOpener(gateway))
    reason = "turn 1: the gateway closed the connection with code 1011 in mid-answer"
    assert broken_checks(recording, script)["answers"] == (reason,)


async def test_longest_silence_counts_until_the_wait_ends() -> None:
    script = make_script(patience={"answer": 30})
    silent_throughout = await run_call(script, SocketOpener(answering([])))
    assert silent_throughout.turns[0].longest_silence == 30
    tail = await run_call(script, SocketOpener(answering([1.0, "say Well"])))
    assert tail.turns[0].longest_silence == 29
    assert broken_checks(tail, script)["silence"] == ("turn 1: silent for 29.00 s, more than 8 s",)


async def test_skipped_steps_do_not_change_the_numbers_of_the_others() -> None:
    script = make_script({"say": "Hello?"}, {"silent": True, "nonsense": True}, {"say": "And?"})
    recording = await run_call(script, SocketOpener(answering(["say Hi.", "done"], ["done"])))
    assert [number for number, _ in recording.skipped_steps] == [2]
    assert [number for number, _ in recording.numbered_turns] == [1, 3]
    assert recording.malformed_before == []
    assert broken_checks(recording, script)["answers"] == ("turn 3: the answer was empty",)


async def test_greeting_belongs_to_no_turn() -> None:
    class Greeted(PlainPlatform):
        traits = PlatformTraits(greeting_wait=0.3)

    async def gateway(socket: GatewaySocket) -> None:
        socket.deliver("say Good")
        await asyncio.sleep(0.25)
        socket.deliver("say morning.")
        await answering(["say Hi.", "done"])(socket)

    recording = await run_call(make_script(), SocketOpener(gateway), platform=Greeted())
    assert recording.greeting == [(0.0, "Good"), (0.25, "morning.")]
    assert (recording.turns[0].asked_at, recording.turns[0].text) == (0.6, "Hi.")


async def test_late_text_has_no_stop_delay_if_the_platform_stops_playback() -> None:
    class Mute(PlainPlatform):
        traits = PlatformTraits(stops_playback=True)

    script = make_script({"say": "Hello?", "interrupt": 1})
    recording = await run_call(script, SocketOpener(answering(["say Hi."])), platform=Mute())
    assert (recording.turns[0].stopped_at, recording.turns[0].stop_delay) == (1.0, None)
