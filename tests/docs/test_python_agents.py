"""The page about agents in Python: every agent on it is loaded and answers a turn."""

from __future__ import annotations

import re
import sys
from contextlib import aclosing
from pathlib import Path

import pytest

from tests.docs.test_pages import blocks, page
from voicegw.agents.python.agent import load
from voicegw.app.agents import make_agent
from voicegw.config.load import load as load_config
from voicegw.events import Message, Turn

ANSWERS = {
    "A function that blocks": (
        "sqlite3",
        "One funghi, that is 11 euros. ",
    ),
    "Pydantic AI": ("pydantic_ai", "On Saturday we open at ten."),
    "LangGraph": ("langgraph", "Your parcel arrives tomorrow."),
    "LangChain": ("langchain_core", "A table for two at eight, gladly."),
    "OpenAI Agents SDK": ("agents", "Three singles are free."),
}
"""By section: the library that it needs, and what its agent answers."""
OTHER_SECTIONS = ["The stable Python API"]
"""Sections without an agent: see test_public_api."""
TURN = Turn("7", (Message("system", "Be brief."), Message("user", "One funghi, please")), call="c")


def code(section: str) -> str:
    """Return the Python block of a section."""
    [block] = re.findall(rf"^## {section}\n.*?^```python\n(.*?)^```$", page("python-agents"), re.M | re.S)
    return str(block)


def test_every_section_with_an_agent_is_tested() -> None:
    assert re.findall(r"^## (.+)$", page("python-agents"), re.M) == [*ANSWERS, *OTHER_SECTIONS]


@pytest.mark.wire
@pytest.mark.parametrize("section", ANSWERS)
async def test_every_agent_on_the_page_answers(
    section: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library, answer = ANSWERS[section]
    pytest.importorskip(library)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "desk", raising=False)
    (tmp_path / "desk.py").write_text(code(section), "utf-8")
    (tmp_path / "voicegw.toml").write_text(blocks("python-agents", "toml")[0], "utf-8")
    config = load_config(tmp_path / "voicegw.toml", {})
    agent = make_agent(config.agents["desk"], config)
    if library == "agents":
        from tests.agents.python.frameworks.test_openai_agents import FakeModel, tool_call

        call = tool_call("free_rooms", '{"kind": "single"}')
        sys.modules["desk"].agent.model = FakeModel(call, ["Three singles ", "are free."])
        agent = load("desk:agent", {"tracing": False})
    async with aclosing(agent.reply(TURN)) as stream:
        events = [event async for event in stream]
    assert "".join(event for event in events if isinstance(event, str)) == answer
    monkeypatch.delitem(sys.modules, "desk")


@pytest.mark.parametrize("section", ANSWERS)
def test_an_agent_on_the_page_is_about_thirty_lines(section: str) -> None:
    assert 20 <= len(code(section).splitlines()) <= 35
