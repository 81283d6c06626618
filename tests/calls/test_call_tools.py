"""The tools of a call."""

from __future__ import annotations

import pytest

from voicegw.calls.call_tools import TOOLS, call_tools
from voicegw.calls.codec import ACTIONS
from voicegw.turns.acknowledgement import SYSTEM_TOOLS


def test_every_action_of_a_call_is_a_tool() -> None:
    assert tuple(TOOLS) == ACTIONS
    assert [tool.name for tool in call_tools(("end_call", "play_audio"))] == ["end_call", "play_audio"]


@pytest.mark.parametrize("name", ACTIONS)
def test_a_tool_tells_the_agent_what_it_wants(name: str) -> None:
    tool = TOOLS[name]
    assert tool.description.endswith(".")
    properties = tool.parameters["properties"]
    assert set(tool.parameters["required"]) <= set(properties)
    assert all(field["type"] == "string" and field["description"] for field in properties.values())


def test_speech_is_welcome_before_every_action() -> None:
    assert set(ACTIONS) <= SYSTEM_TOOLS
