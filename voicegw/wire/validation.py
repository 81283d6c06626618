"""A JSON body as it arrives: fields of the types they must have, or a `BadRequest` that names them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from voicegw.errors import BadRequest
from voicegw.wire.json import loads

T = TypeVar("T")
NULL = type(None)
NUMBER = (int, float, NULL)
JSON_NAMES: Mapping[type, str] = {
    bool: "a boolean",
    dict: "an object",
    float: "a number",
    int: "an integer",
    list: "an array",
    str: "a string",
    NULL: "null",
}


def parse_object(body: bytes, depth: int) -> dict[str, Any]:
    """The object that a body holds, nested at most so deep."""
    try:
        data = loads(body)
    except ValueError:
        raise BadRequest("The request body is no valid JSON.") from None
    if not isinstance(data, dict):
        raise BadRequest("The request body must be a JSON object.")
    if body.count(b"{") + body.count(b"[") > depth and _deeper(data, depth):
        raise BadRequest(f"The request body is nested deeper than {depth} levels.")
    return data


def field(data: Mapping[str, Any], key: str, *kinds: type, path: str = "") -> Any:
    """`data[key]`, None if missing, or a `BadRequest` naming it if it is none of `kinds`."""
    value = data.get(key)
    if type(value) in kinds:  # what JSON holds is of these very types
        return value
    names = [JSON_NAMES[kind] for kind in kinds if kind is not NULL]
    got = "missing" if key not in data else JSON_NAMES.get(type(value), "of another type")
    raise BadRequest(f"'{path}{key}' must be {' or '.join(names)}; it is {got}.", param=path + key)


def map_objects(values: list[Any], path: str, read: Callable[[dict[str, Any], str], T]) -> list[T]:
    """What `read` makes of every object in an array; it is told the path of each."""
    for index, value in enumerate(values):
        if not isinstance(value, dict):
            raise BadRequest(f"'{path}[{index}]' must be an object.", param=f"{path}[{index}]")
    return [read(value, f"{path}[{index}].") for index, value in enumerate(values)]


def check_length(values: list[Any], path: str, most: int) -> list[Any]:
    """An array of at most so many values."""
    if len(values) > most:
        raise BadRequest(f"'{path}' holds {len(values)} entries; at most {most} are allowed.", param=path)
    return values


def printable(text: str, param: str, most: int) -> str:
    """A name that is echoed, logged or looked for: short, and without control characters."""
    if len(text) > most or not (text.isprintable() or not text):
        raise BadRequest(f"'{param}' must be at most {most} printable characters.", param=param)
    return text


def _deeper(value: Any, most: int) -> bool:
    level = [value]
    for _ in range(most):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, (dict, list))
        ]
        if not level:
            return False
    return True
