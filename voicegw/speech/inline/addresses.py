"""The rule for bare addresses: the domain is spoken, or nothing. `skipped.skip_url` leaves out the rest."""

from __future__ import annotations

import re

from voicegw.speech.state import WAIT, FilterState

SCHEME = re.compile(r"https?://|(?=www\.)", re.IGNORECASE)
SCHEME_PREFIXES = ("http://", "https://", "www.")
AUTHORITY = re.compile(r"[^\s/?#<>\"\u2e80-\uffff]*")
HOST = re.compile(r"[A-Za-z0-9\u00c0-\u1fff][A-Za-z0-9.\u00c0-\u1fff-]*|\[[0-9A-Fa-f:.]+\]")


def read_address(state: FilterState, text: str, at: int, end: int, must_decide: bool) -> int:
    """Read a word that begins like an address: of an address the domain is spoken, or nothing."""
    if state.previous_char.isascii() and (state.previous_char.isalnum() or state.previous_char == "_"):
        return state.say_plain(text, at, at + 1)
    scheme = SCHEME.match(text, at, end)
    if scheme is None or text[at:end].lower() == "www.":
        window = text[at:end].lower()
        if not must_decide and any(prefix.startswith(window) for prefix in SCHEME_PREFIXES):
            return WAIT
        return state.say_plain(text, at, at + 1)
    authority = AUTHORITY.match(text, scheme.end(), end)
    assert authority
    if authority.end() == end and not must_decide:
        return WAIT
    host = HOST.match(text, scheme.end() + authority[0].rfind("@") + 1, end)
    if host is None:
        return state.say_plain(text, at, at + 1)
    name = host[0].rstrip(".-")
    if state.previous_char in (",", ";"):
        state.output.add_blank()
    if state.options.urls == "domain":
        state.output.say(name[4:] if name.lower().startswith("www.") and len(name) > 4 else name)
    else:
        state.output.omit()
        state.has_visible = True
    state.depth = 0
    state.enter("url")
    return host.start() + len(name)
