"""A request needs one valid key, or without keys it must come from this machine."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.security.test_keys import BOSS, DESK
from voicegw.errors import Forbidden, Unauthorized
from voicegw.security.authenticator import Authenticator
from voicegw.security.keys import ANONYMOUS, ApiKeys

WITH_KEYS = Authenticator(ApiKeys([DESK, BOSS]))

WITHOUT_KEYS = Authenticator(ApiKeys(), hosts=["box.lan", "[fd00::7]"], origins=["https://app.example.com"])

LOCAL = (b"host", b"127.0.0.1:8080")


def bearer(secret: bytes, scheme: bytes = b"Bearer") -> tuple[bytes, bytes]:
    return b"authorization", scheme + b" " + secret


@pytest.mark.parametrize("scheme", [b"Bearer", b"bearer", b"BEARER"])
def test_bearer_key_is_accepted_in_any_case_of_the_scheme(scheme: bytes) -> None:
    assert WITH_KEYS.authenticate([bearer(b"vgw_desk", scheme)]) is DESK


def test_session_key_is_accepted() -> None:
    assert WITH_KEYS.authenticate([(b"x-session-api-key", b"vgw_boss")]) is BOSS


def test_same_key_in_both_headers_is_accepted() -> None:
    assert WITH_KEYS.authenticate([bearer(b" vgw_boss "), (b"x-session-api-key", b"vgw_boss")]) is BOSS


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [LOCAL],
        [bearer(b"")],
        [(b"authorization", b"vgw_desk")],
        [bearer(b"vgw_desk", b"Basic")],
        [bearer(b"vgw_desk", b"xBearer")],
        [(b"x-session-api-key", b" ")],
        [(b"cookie", b"authorization=Bearer vgw_desk")],
    ],
)
def test_request_without_a_key_is_refused(headers: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(Unauthorized) as caught:
        WITH_KEYS.authenticate(headers)
    assert caught.value.message == "No API key provided: send the header Authorization: Bearer YOUR_KEY."


@pytest.mark.parametrize(
    "secret", [b"vgw_wrong", b"vgw_desk2", b"VGW_DESK", b"vgw_desk,vgw_boss", b"\xff\xfe"]
)
def test_wrong_key_is_refused_and_not_repeated(secret: bytes) -> None:
    with pytest.raises(Unauthorized) as caught:
        WITH_KEYS.authenticate([bearer(secret)])
    assert caught.value.message == "Incorrect API key provided."
    assert (caught.value.status, caught.value.code) == (401, "invalid_api_key")


@pytest.mark.parametrize(
    "headers",
    [
        [bearer(b"vgw_desk"), bearer(b"vgw_boss")],
        [bearer(b"vgw_desk"), (b"x-session-api-key", b"vgw_boss")],
        [bearer(b"vgw_wrong"), bearer(b"vgw_desk")],
    ],
)
def test_two_different_keys_are_refused(headers: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(Unauthorized, match=r"^More than one API key provided\.$"):
        WITH_KEYS.authenticate(headers)


def test_host_proxies_and_origin_are_ignored_with_keys() -> None:
    headers = [(b"host", b"voice.example.com"), (b"x-forwarded-for", b"1.2.3.4"), (b"origin", b"https://a.b")]
    assert WITH_KEYS.authenticate([*headers, bearer(b"vgw_desk")]) is DESK


@pytest.mark.parametrize(
    "host",
    [
        b"127.0.0.1",
        b"127.0.0.1:8080",
        b"127.9.9.9:1",
        b"[::1]",
        b"[::1]:8080",
        b"localhost",
        b"LocalHost:8080",
        b"voice.localhost:8080",
        b"box.lan",
        b"BOX.lan:80",
        b"[fd00::7]:80",
    ],
)
def test_without_keys_local_and_listed_hosts_are_accepted(host: bytes) -> None:
    assert WITHOUT_KEYS.authenticate([(b"host", host)]) is ANONYMOUS


@pytest.mark.parametrize(
    "host",
    [
        b"",
        b"evil.example.com",
        b"localhost.evil.com",
        b"127.0.0.1.evil.com",
        b"evillocalhost",
        b"localhost@evil.com",
        b"evil.com#localhost",
        b"127.0.0.1:80:80",
        b"127.0.0.1:80.evil.com",
        b"127.0.0.1, evil.com",
        b"[::1%evil]",
        b"[::1",
        b"::1",
        b"0.0.0.0:8080",
        b"[::]",
        b"127.1",
        b"0x7f000001",
        b"2130706433",
        b"128.0.0.1",
        b"192.168.0.7",
        b"box.lan.evil.com",
        b"localhost\n",
        b"localhost\xff",
    ],
)
def test_without_keys_any_other_host_is_refused(host: bytes) -> None:
    with pytest.raises(Forbidden) as caught:
        WITHOUT_KEYS.authenticate([(b"host", host)])
    assert caught.value.status == 403
    assert "Host" in caught.value.message


@pytest.mark.parametrize("headers", [[], [LOCAL, LOCAL], [LOCAL, (b"host", b"evil.example.com")]])
def test_without_keys_there_must_be_exactly_one_host(headers: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(Forbidden, match="Host"):
        WITHOUT_KEYS.authenticate(headers)


@pytest.mark.parametrize(
    "name",
    [
        b"forwarded",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-proto",
        b"x-forwarded-server",
        b"x-real-ip",
        b"via",
        b"cf-connecting-ip",
        b"cf-ray",
        b"cdn-loop",
        b"true-client-ip",
        b"x-envoy-external-address",
        b"tailscale-user-login",
    ],
)
def test_without_keys_proxies_and_tunnels_are_refused(name: bytes) -> None:
    with pytest.raises(Forbidden, match="proxy or tunnel"):
        WITHOUT_KEYS.authenticate([LOCAL, (name, b"127.0.0.1")])


@pytest.mark.parametrize("version", ["1.0", "0.9", "2"])
def test_without_keys_only_http_1_1_is_served(version: str) -> None:
    with pytest.raises(Forbidden, match=r"only HTTP/1\.1"):
        WITHOUT_KEYS.authenticate([LOCAL], version)
    assert WITH_KEYS.authenticate([LOCAL, bearer(b"vgw_desk")], version) is DESK


def test_without_keys_listed_origin_is_accepted() -> None:
    assert WITHOUT_KEYS.authenticate([LOCAL, (b"origin", b"https://app.example.com")]) is ANONYMOUS


@pytest.mark.parametrize(
    "origin",
    [
        b"null",
        b"",
        b"*",
        b"https://evil.example.com",
        b"http://app.example.com",
        b"https://app.example.com:444",
        b"https://app.example.com.evil.com",
        b"http://127.0.0.1:9999",
    ],
)
def test_without_keys_any_other_origin_is_refused(origin: bytes) -> None:
    with pytest.raises(Forbidden, match=r"server\.origins"):
        WITHOUT_KEYS.authenticate([LOCAL, (b"origin", origin)])


def test_without_keys_every_origin_must_be_listed() -> None:
    with pytest.raises(Forbidden, match=r"server\.origins"):
        WITHOUT_KEYS.authenticate(
            [LOCAL, (b"origin", b"https://app.example.com"), (b"origin", b"https://evil.example.com")]
        )


def test_without_keys_a_sent_key_is_ignored() -> None:
    assert WITHOUT_KEYS.authenticate([LOCAL, bearer(b"anything")]) is ANONYMOUS


def test_star_is_no_wildcard_for_origins() -> None:
    with pytest.raises(Forbidden):
        Authenticator(ApiKeys(), origins=["*"]).authenticate(
            [LOCAL, (b"origin", b"https://evil.example.com")]
        )


@given(st.lists(st.tuples(st.sampled_from([b"host", b"origin", b"authorization", b"via"]), st.binary())))
def test_no_header_raises_another_error(headers: list[tuple[bytes, bytes]]) -> None:
    for authenticator in (WITHOUT_KEYS, WITH_KEYS):
        with suppress(Forbidden, Unauthorized):
            assert authenticator.authenticate(headers) is ANONYMOUS
            assert authenticator is WITHOUT_KEYS
