"""The results of a turn's actions, as the agent reads them."""

from __future__ import annotations

from voicegw.calls.action_results import ActionResults
from voicegw.events import ToolCall
from voicegw.turns.prompts import ACTION_DONE, ACTION_DONE_BEFORE, ACTION_NOT_POSSIBLE

KEYS, AGAIN = ToolCall("1", "send_digits", '{"digits":"5"}'), ToolCall("2", "send_digits", '{"digits":"5"}')


def test_each_action_has_a_result_until_it_is_cut_off() -> None:
    actions = ActionResults()
    assert not actions.is_repeated(KEYS)
    actions.execute(KEYS)
    actions.refuse(ToolCall("3", "transfer_call"))
    assert actions.by_id == {"1": ACTION_DONE, "3": ACTION_NOT_POSSIBLE}
    assert (actions.has_new, actions.has_refused) == (True, True)
    actions.cut_off(KEYS)
    assert (actions.executed, list(actions.by_id)) == ([], ["3"])


def test_repeated_action_has_the_result_of_the_first() -> None:
    first, earlier = ActionResults(), dict[tuple[str, str], str]()
    first.execute(KEYS)
    first.merge_into(earlier, (KEYS, ToolCall("9", "play_audio")))
    assert earlier == {(KEYS.name, KEYS.arguments): ACTION_DONE}
    second = ActionResults()
    second.earlier = earlier
    assert second.is_repeated(AGAIN)
    assert (second.by_id, second.has_new, second.has_refused) == ({"2": ACTION_DONE_BEFORE}, False, False)


def test_repeated_action_that_was_refused_is_refused_again() -> None:
    actions = ActionResults()
    actions.earlier = {(KEYS.name, KEYS.arguments): ACTION_NOT_POSSIBLE}
    assert actions.is_repeated(AGAIN)
    assert (actions.by_id, actions.has_refused) == ({"2": ACTION_NOT_POSSIBLE}, True)
