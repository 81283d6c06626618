"""Scripts: valid files, and the messages about invalid ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from voicegw.errors import ConfigError
from voicegw.simulate.script import CallScript, ScriptTimeouts, load_script

FULL_FILE = """
language = "de-DE"
caller = "+4930123456"
called = "+4930654321"
greeting = "Guten Tag."

[patience]
first_words = 2

[[tools]]
name = "weather"
result = "rain"

[[turns]]
say = "Hallo?"
partial = ["Hal"]
nonsense = true
again = 0.1

[[turns]]
press = "12#"
next = 0

[[turns]]
silent = true
wait = 1.5
hang_up = 3
"""


def write_script(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "call.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_full_script_is_loaded(tmp_path: Path) -> None:
    script = load_script(write_script(tmp_path, FULL_FILE))
    assert (script.language, script.caller, script.called) == ("de-DE", "+4930123456", "+4930654321")
    assert script.patience == ScriptTimeouts(first_words=2.0)
    assert [(tool.name, tool.result) for tool in script.tools] == [("weather", "rain")]
    hello, keys, silence = script.turns
    assert (hello.say, hello.partial, hello.nonsense, hello.again) == ("Hallo?", ("Hal",), True, 0.1)
    assert (keys.press, keys.next) == ("12#", 0.0)
    assert (silence.silent, silence.wait, silence.hang_up) == (True, 1.5, 3.0)


def test_missing_keys_have_their_defaults() -> None:
    script = CallScript.model_validate({"turns": [{"say": "Hello?"}]})
    [step] = script.turns
    assert (step.interrupt, step.next, step.drop, step.hang_up, step.again) == (None,) * 5
    assert script.patience == ScriptTimeouts(
        connect=5, first_words=1, silence=8, answer=60, stop=0.25, pong=0.25
    )


@pytest.mark.parametrize(
    ("turns", "said"),
    [
        ([], "turns: there is none: add a table [[turns]], with say for example"),
        ([{}], "turn 1: needs one of say, press and silent"),
        ([{"say": ""}], "turn 1: say: must not be empty"),
        ([{"say": "a", "press": "1"}], "turn 1: needs one of say, press and silent"),
        (
            [{"say": "a", "interrupt": 0.1, "drop": 0.1}],
            "turn 1: interrupt, next, drop and hang_up exclude each other",
        ),
        ([{"press": "12x"}], "turn 1: press: must be 1 to 32 keys: digits, * and #"),
        ([{"say": "a", "wait": -1}], "turn 1: wait: must be 0 or more seconds"),
        ([{"say": "a", "wait": float("nan")}], "turn 1: wait: must be a number of seconds"),
        ([{"say": "a", "wiat": 1}], 'turn 1: wiat: unknown key; did you mean "wait"?'),
        ([{"say": "a", "hang_up": 1}, {"say": "b"}], "turns: only the last one can have hang_up"),
        ([{"say": "a"}, {"say": "b", "next": 1}], "turns: the last one has no next"),
    ],
)
def test_invalid_turns_are_reported_with_their_key(tmp_path: Path, turns: list[Any], said: str) -> None:
    entries = (
        "{" + ", ".join(f"{key} = {_toml(value)}" for key, value in turn.items()) + "}" for turn in turns
    )
    path = write_script(tmp_path, f"turns = [{', '.join(entries)}]")
    with pytest.raises(ConfigError) as caught:
        load_script(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert said in str(caught.value)


def test_all_problems_are_reported_at_once(tmp_path: Path) -> None:
    path = write_script(
        tmp_path,
        'langage = "de"\n[patience]\nanswers = 3\n[[tools]]\nresult = "x"\n'
        '[[turns]]\nsay = "Hi"\n[[turns]]\nsay = "a"\nwait = "1"\nsays = "b"\n',
    )
    with pytest.raises(ConfigError) as caught:
        load_script(path)
    assert sorted(str(caught.value).replace(f"{path}: ", "").splitlines()) == [
        'langage: unknown key; did you mean "language"?',
        'patience.answers: unknown key; did you mean "answer"?',
        "tool 1: name: is missing",
        'turn 2: says: unknown key; did you mean "say"?',
        "turn 2: wait: must be a number of seconds",
    ]


def test_invalid_turn_is_not_reported_as_missing_too(tmp_path: Path) -> None:
    path = write_script(tmp_path, '[[turns]]\nsya = "Hi"\n')
    with pytest.raises(ConfigError) as caught:
        load_script(path)
    assert str(caught.value) == f'{path}: turn 1: sya: unknown key; did you mean "say"?'


def _toml(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)


@pytest.mark.parametrize("text", ["turns = [", b"\xff\xfe", "turns = 3 4"])
def test_file_that_is_not_toml_is_reported(tmp_path: Path, text: str | bytes) -> None:
    with pytest.raises(ConfigError, match="is not TOML"):
        load_script(write_script(tmp_path, text))


def test_missing_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml: cannot be read: No such file or directory"):
        load_script(tmp_path / "none.toml")
