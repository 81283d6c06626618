"""Validation of JSON request bodies: each error is a `BadRequest` that names the field. Pure.

The endpoints decide which fields there are; this module only checks types, lengths and depth.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from voicegw.errors import BadRequest
from voicegw.wire.json import TooManyValues, loads

T = TypeVar("T")
NULL = type(None)
"""The type of JSON's null, which also stands for a missing field."""
NUMBER = (int, float, NULL)
"""The types of an optional number."""
MAX_EXACT_INTEGER = 2**53
"""Below it, a float holds every integer exactly."""
JSON_NAMES: Mapping[type, str] = {
    bool: "a boolean",
    dict: "an object",
    float: "a number",
    int: "an integer",
    list: "an array",
    str: "a string",
    NULL: "null",
}
"""The names of JSON's types in messages."""


def parse_object(body: bytes, max_depth: int) -> dict[str, Any]:
    """Return the JSON object of a request body.

    Raise BadRequest if the body is not JSON, not an object, nested deeper than `max_depth` levels, or holds
    too many values.
    """
    try:
        data = loads(body)
    except TooManyValues as error:
        raise BadRequest(f"The request body holds {error}.") from None
    except ValueError:
        raise BadRequest("The request body is not valid JSON.") from None
    if not isinstance(data, dict):
        raise BadRequest("The request body must be a JSON object.")
    if body.count(b"{") + body.count(b"[") > max_depth and _is_deeper(data, max_depth):
        raise BadRequest(f"The request body is nested deeper than {max_depth} levels.")
    return data


def get_field(data: Mapping[str, Any], key: str, *kinds: type, path: str = "") -> Any:
    """Return `data[key]`, or None if it is missing and `kinds` has `NULL`.

    `path` is the object's path in the body, such as "messages[0].". Raise BadRequest for a value of a type
    that is not among `kinds`. A boolean is no integer here, but 150.0 is: some clients have only one type of
    number.
    """
    value = data.get(key)
    if type(value) in kinds:  # parsed JSON has exactly these types, no subclasses
        return value
    if type(value) is float and int in kinds and value.is_integer() and abs(value) < MAX_EXACT_INTEGER:
        return int(value)
    names = [JSON_NAMES[kind] for kind in kinds if kind is not NULL]
    actual = "missing" if key not in data else JSON_NAMES.get(type(value), "of another type")
    raise BadRequest(f"'{path}{key}' must be {' or '.join(names)}; it is {actual}.", param=path + key)


def map_objects(values: list[Any], path: str, parse: Callable[[dict[str, Any], str], T]) -> list[T]:
    """Return the results of `parse(object, path)` for every object of an array.

    `path` is the array's path; `parse` receives that of the object, such as "tools[0].". Raise BadRequest for
    an entry that is not an object. Pass on the exceptions of `parse`.
    """
    for index, value in enumerate(values):
        if not isinstance(value, dict):
            raise BadRequest(f"'{path}[{index}]' must be an object.", param=f"{path}[{index}]")
    return [parse(value, f"{path}[{index}].") for index, value in enumerate(values)]


def check_length(values: list[Any], path: str, max_length: int) -> list[Any]:
    """Return `values`. Raise BadRequest if there are more than `max_length`; `path` is the array's path."""
    if len(values) > max_length:
        raise BadRequest(
            f"'{path}' holds {len(values)} entries; at most {max_length} are allowed.", param=path
        )
    return values


def check_printable(text: str, param: str, max_length: int) -> str:
    """Return `text`, a name that is echoed, logged or looked up.

    Raise BadRequest for more than `max_length` characters and for control characters; `param` is the field.
    """
    if len(text) > max_length or not (text.isprintable() or not text):
        raise BadRequest(f"'{param}' must be at most {max_length} printable characters.", param=param)
    return text


def _is_deeper(value: Any, max_depth: int) -> bool:
    level = [value]
    for _ in range(max_depth):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, (dict, list))
        ]
        if not level:
            return False
    return True
