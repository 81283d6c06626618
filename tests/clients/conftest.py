"""Two served gateways for the clients: the agents are behind one, and this one is behind the other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.server import Server

AGENTS = Path(__file__).with_name("agents.py").read_text("utf-8")
NAMES = ("trip", "history", "structured", "waiting", "failing", "breaking")
COMMON = 'speech = "off"\nack.after = "off"\n'
DEMO = """
[agents.receptionist]
kind = "scripted"
options = { first = 0.1, every = 0 }
"""
"""The agent of `make serve`, without its long pauses."""
SLOW_TRIP = """
[agents.slow_trip]
kind = "python"
target = "agents:trip"
speech = "off"
ack = { after = 0, with_tools = 0 }
options.pause = 0.1
"""


def python_agents(folder: Path) -> str:
    """Return the configuration of the agents of agents.py."""
    sections = (f'[agents.{name}]\nkind = "python"\ntarget = "agents:{name}"\n{COMMON}' for name in NAMES)
    options = f'[agents.waiting.options]\nfolder = "{folder}"\n'
    return 'turns.unknown_model = "reject"\n' + "".join(sections) + options + SLOW_TRIP + DEMO


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The gateway of the clients. Its agent "remote_trip" is "trip" behind another gateway."""
    inner_folder, folder = tmp_path_factory.mktemp("inner"), tmp_path_factory.mktemp("clients")
    with Server(inner_folder, python_agents(inner_folder), agents=AGENTS) as inner:
        remote = f'[agents.remote_trip]\nkind = "openai"\nurl = "{inner.url}/v1"\nmodel = "trip"\n{COMMON}'
        with Server(folder, python_agents(folder) + remote, agents=AGENTS) as server:
            yield server


@pytest.fixture(params=["trip", "remote_trip"])
def trip(request: pytest.FixtureRequest) -> str:
    """The name of the agent that calls tools over two steps: in the gateway, or behind a second one."""
    name: str = request.param
    return name
