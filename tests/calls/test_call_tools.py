"""The tool definitions of a call's actions."""

from __future__ import annotations

import pytest

from voicegw.calls.call_tools import TOOLS, build_call_tools
from voicegw.calls.codec import ACTIONS
from voicegw.turns.acknowledgement import SYSTEM_TOOLS


def test_every_action_has_a_tool_definition() -> None:
    assert tuple(TOOLS) == ACTIONS
    assert [tool.name for tool in build_call_tools(("end_call", "play_audio"))] == ["end_call", "play_audio"]


@pytest.mark.parametrize("name", ACTIONS)
def test_tool_definition_describes_its_arguments(name: str) -> None:
    tool = TOOLS[name]
    assert tool.description.endswith(".")
    properties = tool.parameters["properties"]
    assert set(tool.parameters["required"]) <= set(properties)
    assert all(field["type"] == "string" and field["description"] for field in properties.values())


def test_acknowledgements_do_not_wait_for_any_action() -> None:
    assert set(ACTIONS) <= SYSTEM_TOOLS
