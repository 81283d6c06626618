"""A model name resolves to an agent that the key allows."""

from __future__ import annotations

import pytest

from tests.conversations.test_dispatcher import DESK, SHOP, create_key, create_registry, serve
from tests.support.fake_agent import FakeAgent
from voicegw.errors import (
    ModelNotFound,
)
from voicegw.security.keys import ANONYMOUS, ApiKey


@pytest.mark.parametrize(
    ("model", "key", "strict", "expected"),
    [
        ("shop", ANONYMOUS, False, "shop"),
        ("", ANONYMOUS, False, "desk"),
        ("", ANONYMOUS, True, "desk"),
        ("gpt-4o", ANONYMOUS, False, "desk"),
        ("gpt-4o", ANONYMOUS, True, None),
        ("gpt-4o", create_key("shop"), False, "shop"),
        ("desk", create_key("shop"), False, None),
        ("shop", create_key("shop"), True, "shop"),
        ("", create_key(), False, None),
        ("x", create_key("gone"), False, None),
    ],
)
async def test_a_model_name_resolves_to_an_agent_that_the_key_allows(
    model: str, key: ApiKey, strict: bool, expected: str | None
) -> None:
    registry = create_registry(DESK, SHOP, strict=strict)
    if expected is None:
        with pytest.raises(ModelNotFound) as raised:
            registry.resolve(model, key)
        assert (raised.value.param, raised.value.code) == ("model", "model_not_found")
    else:
        assert registry.resolve(model, key).name == expected


async def test_a_key_sees_the_agents_that_it_allows_the_default_first() -> None:
    assert create_registry(DESK, SHOP).names_for(ANONYMOUS) == ["desk", "shop"]
    assert create_registry(DESK, SHOP).names_for(create_key("shop")) == ["shop"]


class AgentWithExtraModels(FakeAgent):
    """An agent with extra models."""

    def __init__(self, *models: str) -> None:
        super().__init__("Hi")
        self.models = list(models)


async def test_extra_models_are_found_by_keys_that_allow_their_agent() -> None:
    first, second = AgentWithExtraModels("red", "both", "shop"), AgentWithExtraModels("blue", "both")
    registry = create_registry(serve(first), serve(second, "shop"), strict=True)
    assert registry.names_for(ANONYMOUS) == ["desk", "shop", "red", "both", "blue"]
    assert registry.names_for(create_key("shop")) == ["shop", "blue", "both"]
    names = {model: registry.resolve(model, ANONYMOUS).name for model in ("red", "blue", "both", "shop")}
    assert names == {"red": "desk", "blue": "shop", "both": "desk", "shop": "shop"}
    assert registry.resolve("both", create_key("shop")).name == "shop"
    with pytest.raises(ModelNotFound):
        registry.resolve("red", create_key("shop"))
    first.models.append("green")
    assert registry.resolve("green", ANONYMOUS).name == "desk", "an agent may learn of models later"
