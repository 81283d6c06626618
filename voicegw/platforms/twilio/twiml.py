"""Writes TwiML, the XML with which a webhook tells Twilio how to go on with a call.

Source: Twilio's documentation of TwiML; the tests compare it with `twilio.twiml.voice_response`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TypeAlias
from xml.etree.ElementTree import Element, SubElement, tostring

Value: TypeAlias = str | bool

ILLEGAL = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 cannot hold in any form. They are left out; no voice could speak them."""


def connect_relay(
    url: str,
    *,
    action: str = "",
    attributes: Mapping[str, Value] | None = None,
    languages: Mapping[str, Mapping[str, str]] | None = None,
    failover: Iterable[Mapping[str, str]] = (),
    parameters: Mapping[str, str] | None = None,
) -> bytes:
    """Return the document that connects the call to the websocket at `url` (`<ConversationRelay>`).

    `action` is the address that Twilio asks how to go on after the session, "" for none. `attributes` are
    those of ConversationRelay. `languages` are those of the session by BCP 47 tag, with further attributes.
    `failover` has the attributes of each `<Failover>`. `parameters` are returned in the socket's setup frame.
    """
    response = Element("Response")
    connect = SubElement(response, "Connect", _xml_attributes({"action": action} if action else {}))
    relay = SubElement(connect, "ConversationRelay", _xml_attributes({"url": url, **(attributes or {})}))
    for code, more in (languages or {}).items():
        SubElement(relay, "Language", _xml_attributes({**more, "code": code}))
    for providers in failover:
        SubElement(relay, "Failover", _xml_attributes(providers))
    for name, value in (parameters or {}).items():
        SubElement(relay, "Parameter", _xml_attributes({"name": name, "value": value}))
    return _serialize(response)


def say_and_hang_up(words: str, language: str = "") -> bytes:
    """Return the document that speaks `words` and hangs up.

    `language` is a BCP 47 tag, "" for Twilio's default.
    """
    response = Element("Response")
    SubElement(
        response, "Say", _xml_attributes({"language": language} if language else {})
    ).text = _strip_illegal(words)
    SubElement(response, "Hangup")
    return _serialize(response)


def dial(number: str, action: str) -> bytes:
    """Return the document that transfers the call to this number, in E.164 form.

    `action` is the address that Twilio asks how to go on after the transfer, answered or not.
    """
    response = Element("Response")
    SubElement(response, "Dial", _xml_attributes({"action": action})).text = _strip_illegal(number)
    return _serialize(response)


def empty_response() -> bytes:
    """Return the document without a verb: Twilio ends the call."""
    return _serialize(Element("Response"))


def _xml_attributes(values: Mapping[str, Value]) -> dict[str, str]:
    return {
        name: ("true" if value else "false") if isinstance(value, bool) else _strip_illegal(value)
        for name, value in values.items()
    }


def _strip_illegal(text: str) -> str:
    return ILLEGAL.sub("", text)


def _serialize(response: Element) -> bytes:
    written: bytes = tostring(response, encoding="UTF-8", xml_declaration=True)
    return written
