"""A model's name finds the agent that a key may use."""

from __future__ import annotations

import pytest

from tests.conversations.test_dispatcher import DESK, SHOP, key, line, registry
from tests.support.script import Script
from voicegw.errors import (
    ModelNotFound,
)
from voicegw.security.keys import ANONYMOUS, ApiKey


@pytest.mark.parametrize(
    ("model", "shown", "strict", "answers"),
    [
        ("shop", ANONYMOUS, False, "shop"),
        ("", ANONYMOUS, False, "desk"),
        ("", ANONYMOUS, True, "desk"),
        ("gpt-4o", ANONYMOUS, False, "desk"),
        ("gpt-4o", ANONYMOUS, True, None),
        ("gpt-4o", key("shop"), False, "shop"),
        ("desk", key("shop"), False, None),
        ("shop", key("shop"), True, "shop"),
        ("", key(), False, None),
        ("x", key("gone"), False, None),
    ],
)
async def test_a_name_finds_a_line_that_the_key_may_use(
    model: str, shown: ApiKey, strict: bool, answers: str | None
) -> None:
    switchboard = registry(DESK, SHOP, strict=strict)
    if answers is None:
        with pytest.raises(ModelNotFound) as refused:
            switchboard.resolve(model, shown)
        assert (refused.value.param, refused.value.code) == ("model", "model_not_found")
    else:
        assert switchboard.resolve(model, shown).name == answers


async def test_a_key_sees_what_it_may_use_the_default_first() -> None:
    assert registry(DESK, SHOP).names_for(ANONYMOUS) == ["desk", "shop"]
    assert registry(DESK, SHOP).names_for(key("shop")) == ["shop"]


class Many(Script):
    """An agent that answers for more names than its own."""

    def __init__(self, *models: str) -> None:
        super().__init__("Hi")
        self.models = list(models)


async def test_an_agent_s_further_models_are_found_by_whoever_may_use_it() -> None:
    first, second = Many("red", "both", "shop"), Many("blue", "both")
    switchboard = registry(line(first), line(second, "shop"), strict=True)
    assert switchboard.names_for(ANONYMOUS) == ["desk", "shop", "red", "both", "blue"]
    assert switchboard.names_for(key("shop")) == ["shop", "blue", "both"]
    names = {model: switchboard.resolve(model, ANONYMOUS).name for model in ("red", "blue", "both", "shop")}
    assert names == {"red": "desk", "blue": "shop", "both": "desk", "shop": "shop"}
    assert switchboard.resolve("both", key("shop")).name == "shop"
    with pytest.raises(ModelNotFound):
        switchboard.resolve("red", key("shop"))
    first.models.append("green")
    assert switchboard.resolve("green", ANONYMOUS).name == "desk", "they may be found out later"
