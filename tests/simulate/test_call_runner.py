"""Playing a script: what the caller does and when, and when the rehearsal is over."""

from __future__ import annotations

import asyncio

import pytest

from tests.simulate.plain import Plain, Switch, Wire, answers, play, script, sent, silent
from voicegw.simulate.call_runner import CallRunner
from voicegw.simulate.checks import COMES_BACK, COMMON, evaluate_checks
from voicegw.simulate.platform import PlatformTraits
from voicegw.simulate.recording import Recording
from voicegw.simulate.script import CallScript


async def test_a_question_waits_until_the_one_before_is_answered() -> None:
    told = script({"say": "Hello?"}, {"say": "Open?", "wait": 0.5}, {"press": "12"})
    steps = (0.25, "say Hi.", 0.25, "done"), ("say Yes.", "done"), ("say One two.", "done")
    tape = await play(told, Switch(answers(*steps)))
    assert sent(tape) == [
        (0.0, "hello"),
        (0.0, "ask Hello?"),
        (1.0, "ask Open?"),
        (1.0, "press 12"),
        (1.3, "bye"),
    ]
    assert [(turn.asked_at, turn.texts, turn.end_times) for turn in tape.turns] == [
        (0.0, [(0.25, "Hi.")], [0.5]),
        (1.0, [(1.0, "Yes.")], [1.0]),
        (1.0, [(1.0, "One two.")], [1.0]),
    ]
    assert (tape.failure, tape.status, tape.connected_at, tape.gateway_close, tape.forged_status) == ("", 101, 0.0, None, None)


async def test_the_log_holds_everything_in_order_and_long_frames_shortly() -> None:
    tape = await play(script({"say": "x" * 500, "nonsense": True}), Switch(answers(["say Hi.", "done"])))
    assert tape.log[:5] == [
        (0.0, ">", "hello"),
        (0.0, ">", r"b'\xff'"),
        (0.0, ">", f"ask {'x' * 396}…"),
        (0.0, "<", "say Hi."),
        (0.0, "<", "done"),
    ]


async def test_partial_words_come_before_the_question_one_after_the_other() -> None:
    tape = await play(script({"say": "Open now?", "partial": ["Op", "Open"]}), Switch(answers(["done"])))
    assert sent(tape)[1:4] == [(0.0, "perhaps Op"), (0.05, "perhaps Open"), (0.1, "ask Open now?")]


async def test_an_interruption_comes_after_the_first_words_and_tells_what_was_heard() -> None:
    told = script({"say": "Hello?", "interrupt": 1}, {"say": "Wait."})
    steps = (0.5, "say We are open from nine", 9.0), ("say Yes.", "done")
    tape = await play(told, Switch(answers(*steps)))
    assert (1.5, "stop at 'We are open'") in sent(tape)
    assert (2.05, "ask Wait.") in sent(tape)
    assert [turn.outcome for turn in tape.turns] == ["stopped", "answered"]
    assert tape.turns[0].stopped_at == 1.5


async def test_whoever_interrupts_after_everything_was_played_heard_all_of_it() -> None:
    tape = await play(
        script({"say": "Hello?", "interrupt": 1}), Switch(answers(["say We are open.", "done"]))
    )
    assert (1.0, "stop at 'We are open.'") in sent(tape)
    assert tape.turns[0].outcome == "stopped"


async def test_words_after_the_interruption_are_late() -> None:
    async def gateway(wire: Wire) -> None:
        await wire.inbox.get()
        await wire.inbox.get()
        wire.say("say We are")
        await wire.inbox.get()
        wire.say("say open.")

    tape = await play(script({"say": "Hello?", "interrupt": 1}), Switch(gateway))
    assert (tape.turns[0].text, tape.turns[0].late_texts) == ("We are", [(1.0, "open.")])


async def test_the_next_question_does_not_wait_and_stops_the_one_before() -> None:
    told = script({"say": "Open?", "next": 0.5}, {"say": "On Monday?"}, {"say": "And?"})
    tape = await play(told, Switch(answers([0.25, "say We", 9.0], ["say Yes.", "done"], ["done"])))
    assert sent(tape)[1:4] == [(0.0, "ask Open?"), (0.5, "ask On Monday?"), (0.8, "ask And?")]
    assert [(turn.outcome, turn.stopped_at) for turn in tape.turns] == [
        ("stopped", 0.5),
        ("answered", None),
        ("answered", None),
    ]


async def test_a_question_that_was_answered_by_then_is_not_stopped_by_the_next() -> None:
    told = script({"say": "Open?", "next": 0.5}, {"say": "On Monday?"})
    tape = await play(told, Switch(answers(["say Yes.", "done"], ["done"])))
    assert [turn.outcome for turn in tape.turns] == ["answered", "answered"]


async def test_the_platform_asks_again_unless_it_was_answered_by_then() -> None:
    told = script({"say": "Open?", "again": 0.5})
    tape = await play(told, Switch(answers([1.0, "done"], [0.25, "done"])))
    assert sent(tape)[1:3] == [(0.0, "ask Open?"), (0.5, "ask Open?")]
    assert tape.turns[0].end_times == [0.75]
    tape = await play(told, Switch(answers([0.25, "done"])))
    assert [text for _, text in sent(tape)].count("ask Open?") == 1


async def test_a_second_answer_to_what_was_asked_again_is_waited_for() -> None:
    tape = await play(
        script({"say": "Open?", "again": 0}, {"say": "And?"}),
        Switch(answers(["done"], [0.2, "done"], ["done"])),
    )
    assert tape.turns[0].end_times == [0.0, 0.2]


async def test_a_lost_connection_comes_back_and_the_answer_counts_for_the_same_turn() -> None:
    told = script({"say": "Open?", "drop": 0.5})
    dial = Switch(answers([0.25, "say We", 9.0]), answers([0.25, "say Yes.", "done"]))
    tape = await play(told, dial)
    assert sent(tape)[2:] == [(0.7, "hello again"), (0.7, "ask Open?"), (1.55, "bye")]
    assert (0.5, "!", "the connection is lost") in tape.log
    [turn] = tape.turns
    assert (turn.lost_at, turn.text, turn.end_times, turn.outcome) == (0.5, "WeYes.", [0.95], "answered")
    assert [wire.left for wire in dial.wires] == ["aborted", "closed"]
    assert (tape.connected_at, tape.current_connection_at) == (0.0, 0.7)


async def test_a_gateway_that_does_not_take_the_call_back_has_not_answered() -> None:
    told = script({"say": "Open?", "drop": 0.5}, {"say": "And?"})
    tape = await play(told, Switch(answers([]), 503))
    assert (tape.failure, tape.status) == ("the handshake was refused with status 503", 503)
    assert len(tape.turns) == 1
    [back] = evaluate_checks([COMES_BACK], tape, told)
    assert back.violations == ("turn 1: no answer: the handshake was refused with status 503",)


async def test_the_caller_hangs_up_at_once_when_the_time_has_come() -> None:
    dial = Switch(answers([9.0]))
    tape = await play(script({"say": "Hello?", "hang_up": 0.5}), dial)
    assert sent(tape)[-1] == (0.5, "bye")
    assert (tape.failure, dial.wires[0].left) == ("", "closed")


@pytest.mark.parametrize("step", [{"interrupt": 1}, {"drop": 1}, {"hang_up": 1}, {}])
async def test_once_the_agent_ended_the_call_nothing_more_is_asked(step: dict[str, float]) -> None:
    turns = [{"say": "Bye.", **step}] if "hang_up" in step else [{"say": "Bye.", **step}, {"say": "More?"}]
    tape = await play(script(*turns), Switch(answers(["say Bye.", "end", 0.2, "say Late."])))
    assert [text for _, text in sent(tape)] == ["hello", "ask Bye.", "bye"]
    assert (tape.agent_ended_call, tape.failure, len(tape.turns)) == (True, "", 1)
    assert (0.2, "<", "say Late.") in tape.log


async def test_a_gateway_may_hang_up_once_the_agent_ended_the_call() -> None:
    async def gateway(wire: Wire) -> None:
        wire.say("end")
        wire.hang_up(1000)

    tape = await play(script({"say": "Bye.", "wait": 1}), Switch(gateway))
    assert (tape.agent_ended_call, tape.failure, tape.gateway_close, tape.turns) == (True, "", (0.0, 1000), [])


async def test_a_gateway_that_hangs_up_ends_the_rehearsal() -> None:
    async def gateway(wire: Wire) -> None:
        await wire.inbox.get()
        wire.hang_up(1011)

    told = script({"say": "Hello?"}, {"say": "Still there?"})
    tape = await play(told, Switch(gateway))
    assert tape.failure == "the gateway closed the connection with code 1011"
    assert (tape.gateway_close, len(tape.turns)) == ((0.0, 1011), 1)
    assert {verdict.item for verdict in evaluate_checks(COMMON, tape, told) if verdict.violations} == {
        "answers",
        "first-words",
    }


async def test_patience_ends_with_an_answer_that_does_not_come() -> None:
    told = script({"say": "Hello?"}, {"say": "Hello?"}, patience={"answer": 3})
    tape = await play(told, Switch(answers(["say Um"])))
    assert tape.failure == "turn 1 was not answered within 3 s"
    assert sent(tape)[-1] == (3.0, "bye")


async def test_what_the_platform_does_not_know_is_passed_over_and_stops_nothing() -> None:
    told = script({"say": "Hello?", "next": 0.5}, {"silent": True}, {"say": "And?"})
    tape = await play(told, Switch(answers([0.75, "done"], ["done"])))
    assert [turn.step.say for turn in tape.turns] == ["Hello?", "And?"]


async def test_a_false_proof_is_tried_first_if_that_is_wanted() -> None:
    dial = Switch(403, answers(["done"]))
    tape = await play(script(), dial, proof=True)
    assert (tape.forged_status, tape.status) == (403, 101)
    assert dial.dialled == [
        ("ws://gateway/call", {"proof": "wrong"}),
        ("ws://gateway/call", {"proof": "right for ws://gateway/call"}),
    ]


async def test_who_takes_a_false_proof_is_hung_up_on_and_called_again() -> None:
    dial = Switch(silent, answers(["done"]))
    tape = await play(script(), dial, proof=True)
    assert (tape.forged_status, tape.failure, dial.wires[0].left) == (101, "", "closed")


async def test_a_caller_is_played_by_the_address_that_it_makes() -> None:
    call = CallRunner(Plain(), script(), "ws://elsewhere", dial := Switch(answers(["done"])))
    assert isinstance(await call.run(), Recording)
    assert dial.dialled[0][0] == "ws://elsewhere/call"


def broken(tape: Recording, told: CallScript) -> dict[str, tuple[str, ...]]:
    return {found.item: found.violations for found in evaluate_checks(COMMON, tape, told) if found.violations}


async def test_a_gateway_that_hangs_up_on_nonsense_breaks_that_item_though_nothing_was_asked() -> None:
    async def gateway(wire: Wire) -> None:
        while await wire.inbox.get() != b"\xff":
            pass
        wire.hang_up(1002)

    told = script({"say": "Hello?", "nonsense": True, "partial": ["He"], "interrupt": 1})
    tape = await play(told, Switch(gateway))
    assert tape.turns == []
    assert broken(tape, told)["nonsense"] == (
        "turn 1: the call ended before it was asked: the gateway closed the connection with code 1002",
    )


@pytest.mark.parametrize("way", [{"interrupt": 1}, {"next": 70}, {"hang_up": 70}])
async def test_a_mute_gateway_is_not_hidden_by_a_caller_who_would_cut_it_short(way: dict[str, float]) -> None:
    turns = [{"say": "Hello?", **way}, {"say": "And?"}]
    told = script(*turns[: 1 if "hang_up" in way else 2], patience={"answer": 60})
    found = broken(await play(told, Switch(answers([], []))), told)
    assert "turn 1: no words" in found["first-words"]
    assert ("turn 1: no answer" in found.get("answers", ())) == ("interrupt" in way)


async def test_slow_first_words_before_an_interruption_are_broken_and_quick_hang_ups_are_not() -> None:
    told = script({"say": "Hello?", "interrupt": 1})
    tape = await play(told, Switch(answers([2.0, "say We", 9.0])))
    assert broken(tape, told)["first-words"] == ("turn 1: the first words came after 2.00 s, not within 1 s",)
    told = script({"say": "Hello?", "hang_up": 0.2})
    assert broken(await play(told, Switch(answers([9.0]))), told) == {}


async def test_a_gateway_that_dies_before_it_is_interrupted_is_broken_and_says_how() -> None:
    async def gateway(wire: Wire) -> None:
        await wire.inbox.get()
        await wire.inbox.get()
        wire.say("say We are")
        await asyncio.sleep(0.5)
        wire.hang_up(1011)

    told = script({"say": "Hello?", "interrupt": 1}, {"say": "And?"})
    tape = await play(told, Switch(gateway))
    why = "turn 1: the gateway closed the connection with code 1011 in mid-answer"
    assert broken(tape, told)["answers"] == (why,)


async def test_silence_counts_until_the_waiting_ends() -> None:
    told = script(patience={"answer": 30})
    silent_throughout = await play(told, Switch(answers([])))
    assert silent_throughout.turns[0].longest_silence == 30
    tail = await play(told, Switch(answers([1.0, "say Well"])))
    assert tail.turns[0].longest_silence == 29
    assert broken(tail, told)["silence"] == ("turn 1: silent for 29.00 s, more than 8 s",)


async def test_steps_that_the_platform_does_not_know_keep_the_numbers_of_the_others() -> None:
    told = script({"say": "Hello?"}, {"silent": True, "nonsense": True}, {"say": "And?"})
    tape = await play(told, Switch(answers(["say Hi.", "done"], ["done"])))
    assert [number for number, _ in tape.skipped_steps] == [2]
    assert [number for number, _ in tape.numbered_turns] == [1, 3]
    assert tape.malformed_before == []
    assert broken(tape, told)["answers"] == ("turn 3: the answer was empty",)


async def test_a_greeting_is_no_answer() -> None:
    class Greeted(Plain):
        ways = PlatformTraits(greeting_wait=0.3)

    async def gateway(wire: Wire) -> None:
        wire.say("say Good")
        await asyncio.sleep(0.25)
        wire.say("say morning.")
        await answers(["say Hi.", "done"])(wire)

    tape = await play(script(), Switch(gateway), caller=Greeted())
    assert tape.greeting == [(0.0, "Good"), (0.25, "morning.")]
    assert (tape.turns[0].asked_at, tape.turns[0].text) == (0.6, "Hi.")


async def test_late_words_do_no_harm_where_the_platform_stops_by_itself() -> None:
    class Mute(Plain):
        ways = PlatformTraits(stops_playback=True)

    told = script({"say": "Hello?", "interrupt": 1})
    tape = await play(told, Switch(answers(["say Hi."])), caller=Mute())
    assert (tape.turns[0].stopped_at, tape.turns[0].stop_delay) == (1.0, None)
