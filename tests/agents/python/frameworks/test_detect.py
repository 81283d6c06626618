"""Frameworks are detected by names alone, and a missing package is named."""

from __future__ import annotations

from typing import Any

import pytest

from voicegw.agents.python.frameworks import detect
from voicegw.agents.python.frameworks.detect import detect_framework, reject_unknown_options
from voicegw.errors import ConfigError


def make_object(module: str, name: str) -> Any:
    """Return an object of a class derived from one whose module is `module`."""
    return type("Mine", (type(name, (), {"__module__": module}),), {})()


@pytest.mark.parametrize(
    "found", [4, "text", object(), make_object("mine", "Agent"), make_object("agents.desk", "Agent")]
)
def test_an_object_of_no_framework_is_not_detected(found: object) -> None:
    assert detect_framework("here:it", found) is None


@pytest.mark.parametrize(
    ("module", "name", "label", "extra"),
    [
        ("langgraph.pregel.main", "Pregel", "a LangGraph graph", "langgraph"),
        ("pydantic_ai.agent.abstract", "AbstractAgent", "an agent of Pydantic AI", "pydantic-ai"),
        ("agents.agent", "Agent", "an agent of the OpenAI Agents SDK", "openai-agents"),
        ("langchain_core.runnables.base", "Runnable", "a LangChain runnable", "langchain"),
    ],
)
def test_a_missing_package_of_a_framework_is_named(
    module: str, name: str, label: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(name: str) -> None:
        raise ModuleNotFoundError("No module named 'part'")

    monkeypatch.setattr(detect.importlib, "import_module", absent)
    with pytest.raises(ConfigError) as refused:
        detect_framework("here:it", make_object(module, name))
    missing = f"No module named 'part'; pip install 'voicegw[{extra}]' brings what is needed"
    assert str(refused.value) == f"here:it is {label}, but {missing}"


def test_a_graph_that_is_not_compiled_is_refused() -> None:
    with pytest.raises(ConfigError, match="here:it is a graph that is not compiled; name what"):
        detect_framework("here:it", make_object("langgraph.graph.state", "StateGraph"))


def test_an_option_that_an_adapter_does_not_know_is_refused() -> None:
    reject_unknown_options({"tone": 1}, "tone")
    with pytest.raises(ConfigError, match='there is no option "tone" for it; its options: none'):
        reject_unknown_options({"tone": 1})
