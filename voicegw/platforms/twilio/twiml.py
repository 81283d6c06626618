"""TwiML: what Twilio is to do with a call, as XML."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TypeAlias
from xml.etree.ElementTree import Element, SubElement, tostring

Value: TypeAlias = str | bool

ILLEGAL = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 cannot hold in any form. It is left out: a voice could not say it either."""


def connect(
    url: str,
    *,
    action: str = "",
    attributes: Mapping[str, Value] | None = None,
    languages: Iterable[str] = (),
    parameters: Mapping[str, str] | None = None,
) -> bytes:
    """Connect the call to our websocket at `url`.

    `attributes` are those of ConversationRelay, `languages` what may be switched to, and `parameters` come
    back with the socket's setup. When the session is over, Twilio asks `action` how to go on.
    """
    response = Element("Response")
    connected = SubElement(response, "Connect", _written({"action": action} if action else {}))
    relay = SubElement(connected, "ConversationRelay", _written({"url": url, **(attributes or {})}))
    for code in languages:
        SubElement(relay, "Language", _written({"code": code}))
    for name, value in (parameters or {}).items():
        SubElement(relay, "Parameter", _written({"name": name, "value": value}))
    return _document(response)


def busy(words: str, language: str = "") -> bytes:
    """Say why nobody has time, and hang up."""
    response = Element("Response")
    SubElement(response, "Say", _written({"language": language} if language else {})).text = _legal(words)
    SubElement(response, "Hangup")
    return _document(response)


def dial(number: str) -> bytes:
    """Put the caller through to another number."""
    response = Element("Response")
    SubElement(response, "Dial").text = _legal(number)
    return _document(response)


def empty_response() -> bytes:
    """Nothing more: a call that has nothing left to do ends."""
    return _document(Element("Response"))


def _written(values: Mapping[str, Value]) -> dict[str, str]:
    return {
        name: ("true" if value else "false") if isinstance(value, bool) else _legal(value)
        for name, value in values.items()
    }


def _legal(text: str) -> str:
    return ILLEGAL.sub("", text)


def _document(response: Element) -> bytes:
    written: bytes = tostring(response, encoding="UTF-8", xml_declaration=True)
    return written
