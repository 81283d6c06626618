"""Changes valid JSON values and valid bytes at random. Pure: the random source decides everything."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, TypeAlias

import orjson

Json: TypeAlias = Any
MAX_SLICE = 4000
"""Bytes of the longest part that a mutation repeats or inserts."""
DESCENT = 0.92
"""The probability that a mutation goes on into the members of an object or list."""
ODD_VALUES: tuple[Json, ...] = (
    *(None, True, False, 0, -1, 1, 1.5, 1e308, -0.0, 2**53, 2**63 - 1, -(2**63)),
    *(
        "",
        " ",
        "a",
        "\x00",
        "\u2028",
        "\ufeff",
        "\ufffd",
        "\U0001f600",
        "e\u0301",
        "null",
        "*" * 500,
        "\\" * 500,
    ),
    *([], {}, [[]], [None] * 50, [""] * 500, {"": ""}, {"type": "text"}, {"content": [[{}]]}),
)
"""Values that stand in place of an expected one."""
ODD_TEXT = (
    b"NaN",
    b"1e999",
    b"9" * 400,
    b'"\\ud800"',
    b'"\\udc00\\ud800"',
    b"[" * 300,
    b'{"a":' * 150,
    b"\xff\xfe",
)
"""Texts that stand in place of a JSON value; not all are JSON."""
ODD_BYTES = (
    b"\x00",
    b"\r\n",
    b"\n\n",
    b"\r",
    b":",
    b"\xff",
    b"\xf0\x9f",
    b"\xc0\xaf",
    b'"',
    b"\\",
    b"}",
    b"data: ",
    b"0\r\n\r\n",
)


def mutate_json(random: Random, value: Json) -> bytes:
    """Return the text of `value` after one to four changes of its nodes; some are no longer JSON."""
    value = orjson.loads(orjson.dumps(value))
    for _ in range(random.choice((1, 1, 2, 4))):
        value = _change_node(random, value)
    text = orjson.dumps(value)
    if random.random() < 0.1:
        text = replace_slice(random, text, random.choice(ODD_TEXT))
    return text


def _change_node(random: Random, value: Json) -> Json:
    """Return the value with one node changed, mostly a deep one."""
    if isinstance(value, dict) and value and random.random() < DESCENT:
        key = random.choice(sorted(value))
        return _change_member(random, value, key)
    if isinstance(value, list) and value and random.random() < DESCENT:
        index = random.randrange(len(value))
        return _change_item(random, value, index)
    return random.choice(ODD_VALUES)


def _change_member(random: Random, value: dict[str, Json], key: str) -> Json:
    match random.randrange(6):
        case 0:
            return {name: member for name, member in value.items() if name != key}
        case 1:
            return {**value, random.choice(("", "type", "id", "content", key * 2)): random.choice(ODD_VALUES)}
        case _:
            return {**value, key: _change_node(random, value[key])}


def _change_item(random: Random, value: list[Json], index: int) -> Json:
    match random.randrange(6):
        case 0:
            return value[:index] + value[index + 1 :]
        case 1:
            return value[:index] + [value[index]] * random.randint(2, 40) + value[index:]
        case _:
            return [*value[:index], _change_node(random, value[index]), *value[index + 1 :]]


def mutate_bytes(random: Random, data: bytes) -> bytes:
    """Return the bytes after one to three changes: inserted, replaced, repeated, removed or cut parts."""
    changes: tuple[Callable[[Random, bytes], bytes], ...] = (
        lambda random, data: replace_slice(random, data, random.choice(ODD_BYTES)),
        lambda random, data: replace_slice(random, data, random.randbytes(random.randint(1, 8))),
        _repeat_slice,
        lambda random, data: replace_slice(random, data, b""),
        lambda random, data: data[: random.randint(0, len(data))],
    )
    for _ in range(random.randint(1, 3)):
        data = random.choice(changes)(random, data)
    return data


def replace_slice(random: Random, data: bytes, new: bytes) -> bytes:
    """Return the bytes with `new` in place of up to eight of them."""
    start = random.randint(0, len(data))
    return data[:start] + new + data[start + random.randint(0, 8) :]


def _repeat_slice(random: Random, data: bytes) -> bytes:
    start = random.randint(0, len(data))
    part = data[start : start + random.randint(1, 40)]
    return data[:start] + (part * random.randint(2, 100))[:MAX_SLICE] + data[start:]


def cut(random: Random, data: bytes) -> list[bytes]:
    """Return the bytes in one to six parts, as a network may deliver them."""
    places = sorted(random.randint(0, len(data)) for _ in range(random.choice((0, 0, 1, 2, 5))))
    return [
        part
        for start, end in zip([0, *places], [*places, len(data)], strict=True)
        if (part := data[start:end])
    ]
