"""Twilio's signatures, compared with the official library."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twilio.request_validator import RequestValidator, get_signature_algorithm

from voicegw.platforms.twilio.signature import (
    signature_algorithm,
    signed_url_candidates,
    verify_twilio_signature,
)

TOKEN = "12345"
HOST, PATH = "voice.example.com", b"/twilio/relay"
URL = "wss://voice.example.com/twilio/relay"
SHA256 = "key=webhooks_sharedkey_1,algorithm=HMAC_SHA256"
VALIDATOR = RequestValidator(TOKEN)


def sign(url: str, params: Any = None, settings: str | None = None) -> str:
    """Return the signature of Twilio's own library."""
    return str(VALIDATOR.compute_signature(url, params or {}, get_signature_algorithm(settings)))


def is_accepted(
    signature: str,
    settings: str | None = None,
    *,
    scheme: str = "https",
    host: str = HOST,
    path: bytes = PATH,
    query: bytes = b"",
    token: str = TOKEN,
) -> bool:
    """Return whether this handshake would be accepted."""
    urls = signed_url_candidates(scheme, host, path, query, websocket=True)
    return any(verify_twilio_signature(signature, settings, [url], params, token) for url, params in urls)


def test_without_a_secret_no_signature_is_valid() -> None:
    assert not verify_twilio_signature(RequestValidator("").compute_signature(URL, {}), None, [URL], {}, "")


def test_recorded_signatures_of_the_library_are_valid() -> None:
    assert is_accepted("BZRcmNI74k5V0axFcqKKZia6Ig0=")
    assert is_accepted("tuO4iK/O15Lz0asCOWC2nLYehAo7UfqhyxAkhH4J1JE=", SHA256)
    form = {"CallSid": ["CA1"], "From": ["+14158675310"]}
    voice = "https://voice.example.com/twilio/voice"
    assert verify_twilio_signature("sIDbMMd8IzxwAKalPmmTYpOFXG4=", None, [voice], form, TOKEN)


@pytest.mark.parametrize("settings", [None, SHA256])
@pytest.mark.parametrize(
    ("url", "params"),
    [
        (URL, {}),
        (URL.replace(".com", ".com:443"), {}),
        (URL.replace(".com", ".com:80"), {}),
        (URL + "?tenant=a%20b&x=1", {}),
        (URL.replace(".com", ".com:443") + "?tenant=a%20b&x=1", {}),
        (URL, {"tenant": "a b", "x": "1"}),
        (URL.replace(".com", ".com:443"), {"tenant": "a b", "x": "1"}),
    ],
)
def test_every_form_of_a_signed_handshake_is_valid(
    url: str, params: dict[str, str], settings: str | None
) -> None:
    query = b"tenant=a%20b&x=1" if params or "?" in url else b""
    signature = sign(url, params, settings)
    for scheme, host in product(("https", "wss"), (HOST, f"{HOST}:443")):
        assert is_accepted(signature, settings, scheme=scheme, host=host, query=query)
    other = None if settings else SHA256
    assert not is_accepted(signature, other, query=query), "another algorithm"
    assert not is_accepted(signature, settings, query=query, token="54321"), "another token"
    assert not is_accepted(signature, settings, query=query + b"&y=2"), "another query"
    assert not is_accepted(signature, settings, query=query, path=PATH + b"/"), "another path"
    assert not is_accepted(signature, settings, query=query, host="example.com"), "another host"
    assert not is_accepted(signature, settings, query=query, scheme="http"), "another scheme"
    assert not is_accepted(signature[:-2] + "A=", settings, query=query), "tampered"


@pytest.mark.parametrize("signature", ["", "é", "\udcff", "x" * 5000, "BZRcmNI74k5V0axFcqKKZia6Ig0"])
def test_malformed_signature_is_invalid(signature: str) -> None:
    assert not is_accepted(signature)


@pytest.mark.parametrize(
    ("settings", "algorithm"),
    [
        (None, "HMAC_SHA1"),
        ("", "HMAC_SHA1"),
        ("key=k", "HMAC_SHA1"),
        ("key=k,algorithm=", "HMAC_SHA1"),
        ("algorithm", "HMAC_SHA1"),
        ("key=k, algorithm = hmac_sha256 ", "HMAC_SHA256"),
        ("algorithm=HMAC_SHA512,key=k", "HMAC_SHA512"),
    ],
)
def test_settings_name_the_algorithm(settings: str | None, algorithm: str) -> None:
    assert signature_algorithm(settings) == algorithm == get_signature_algorithm(settings).upper()


def test_unknown_algorithm_is_invalid() -> None:
    settings = "algorithm=HMAC_MD5"
    assert not is_accepted(sign(URL), settings)


def test_one_matching_url_is_enough() -> None:
    assert verify_twilio_signature(sign(URL), None, ["wss://a/", URL], (), TOKEN)
    assert not verify_twilio_signature(sign(URL), None, [], (), TOKEN)


def test_path_is_signed_as_received() -> None:
    signature = sign("wss://voice.example.com/a%2Fb/%C3%A9/")
    assert is_accepted(signature, path=b"/a%2Fb/%C3%A9/")
    assert not is_accepted(signature, path="/a/b/é/".encode())
    assert not is_accepted(signature, path=b"/a%2fb/%C3%A9/")
    assert not is_accepted(signature, path=b"/\xff")


def test_repeated_field_is_signed_with_each_value() -> None:
    class MultiDict(dict[str, list[str]]):
        def getlist(self, name: str) -> list[str]:
            return self[name]

    form = MultiDict(B=["2", "1", "2"], a=[""], A=["x"])
    signature = sign(URL, form)
    pairs = [(name, value) for name, values in form.items() for value in values]
    for params in (form, pairs, reversed(pairs)):
        assert verify_twilio_signature(signature, None, [URL], params, TOKEN)
    assert not verify_twilio_signature(signature, None, [URL], {**form, "A": "y"}, TOKEN)


def test_single_value_needs_no_list() -> None:
    assert verify_twilio_signature(sign(URL, {"a": "long"}), None, [URL], {"a": "long"}, TOKEN)


@pytest.mark.parametrize(
    ("scheme", "host", "websocket", "urls"),
    [
        ("https", "h", True, ["wss://h/p", "wss://h:443/p", "wss://h:80/p"]),
        ("wss", "h:443", True, ["wss://h:443/p", "wss://h/p", "wss://h:80/p"]),
        ("http", "h", True, ["ws://h/p", "ws://h:80/p"]),
        ("ws", "h:8080", True, ["ws://h:8080/p", "ws://h/p", "ws://h:80/p"]),
        ("https", "h", False, ["https://h/p", "https://h:443/p"]),
        ("wss", "h:8443", False, ["https://h:8443/p", "https://h/p", "https://h:443/p"]),
        ("http", "[::1]:80", False, ["http://[::1]:80/p", "http://[::1]/p"]),
    ],
)
def test_candidates_differ_in_their_ports(scheme: str, host: str, websocket: bool, urls: list[str]) -> None:
    found = signed_url_candidates(scheme, host, b"/p", b"", websocket=websocket)
    assert found == [(url, ()) for url in urls]


def test_query_is_in_the_url_or_in_the_fields() -> None:
    found = signed_url_candidates("http", "h", b"/p", b"a=b+c&d=", websocket=False)
    pairs = (("a", "b c"), ("d", ""))
    assert found == [
        ("http://h/p?a=b+c&d=", ()),
        ("http://h:80/p?a=b+c&d=", ()),
        ("http://h/p", pairs),
        ("http://h:80/p", pairs),
    ]


@pytest.mark.parametrize(
    ("scheme", "host"),
    [("ftp", "h"), ("", "h"), ("https", ""), ("https", "h/x"), ("https", "u@h"), ("https", "h:80:80")],
)
def test_invalid_scheme_or_host_has_no_candidates(scheme: str, host: str) -> None:
    assert signed_url_candidates(scheme, host, b"/", b"", websocket=True) == []


NAME = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=4)
FIELDS = st.dictionaries(NAME, st.text(st.characters(exclude_categories=["Cs"]), max_size=4), max_size=3)
PORT = st.sampled_from(["", ":443", ":80", ":8443"])


@given(st.booleans(), PORT, PORT, NAME, FIELDS, st.booleans(), st.sampled_from([None, SHA256]))
def test_signature_that_the_library_accepts_is_accepted(
    websocket: bool,
    port: str,
    signed_port: str,
    path: str,
    fields: dict[str, str],
    query_as_fields: bool,
    settings: str | None,
) -> None:
    scheme = "wss" if websocket else "https"
    raw, query = f"/{quote(path)}", urlencode(fields)
    tail = f"?{query}" if query and not query_as_fields else ""
    params: Mapping[str, str] = fields if query_as_fields else {}
    signature = sign(f"{scheme}://h{signed_port}{raw}{tail}", params, settings)
    ours = any(
        verify_twilio_signature(signature, settings, [url], also, TOKEN)
        for url, also in signed_url_candidates(
            "https", f"h{port}", raw.encode(), query.encode(), websocket=websocket
        )
    )
    theirs = VALIDATOR.validate(
        f"{scheme}://h{port}{raw}{tail}", params, signature, get_signature_algorithm(settings)
    )
    assert ours or not theirs
    assert ours is (theirs or signed_port in ("", ":443") or (websocket and signed_port == ":80"))


@given(st.text(), st.none() | st.text(), st.text(), st.binary(), st.binary(), st.text(min_size=1))
def test_any_input_is_refused_without_an_exception(
    signature: str, settings: str | None, host: str, path: bytes, query: bytes, token: str
) -> None:
    for url, params in signed_url_candidates("https", host, path, query, websocket=True):
        assert not verify_twilio_signature(signature, settings, [url], params, token)
    assert not verify_twilio_signature(signature, settings, [host], parse_qsl(host), token)
