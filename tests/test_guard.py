from __future__ import annotations

import hmac
import re
from contextlib import suppress
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicegw import guard
from voicegw.errors import Busy, Forbidden, Unauthorized
from voicegw.guard import ANONYMOUS, Door, Key, Keys, Limits, client_address, digest, loopback, new_key

DESK = Key("desk", digest("vgw_desk"), frozenset({"desk"}), "vapi", 10)
BOSS = Key("boss", digest("vgw_boss"))
LOCKED = Door(Keys([DESK, BOSS]))
OPEN = Door(Keys(), hosts=["box.lan", "[fd00::7]"], origins=["https://app.example.com"])
LOCAL = (b"host", b"127.0.0.1:8080")
PROXIES = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))


def bearer(secret: bytes, scheme: bytes = b"Bearer") -> tuple[bytes, bytes]:
    return b"authorization", scheme + b" " + secret


def forwarded(*lines: str) -> list[tuple[bytes, bytes]]:
    return [(b"x-forwarded-for", line.encode("latin-1")) for line in lines]


def test_a_new_key_has_32_random_bytes_and_its_hash_is_that_of_the_secret() -> None:
    secret, written = new_key()
    assert re.fullmatch(r"vgw_[A-Za-z0-9_-]{43}", secret)
    assert written == "sha256:" + digest(secret).hex()
    assert new_key()[0] != secret


def test_the_digest_is_sha256() -> None:
    assert digest("abc").hex() == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_key_does_not_show_its_digest() -> None:
    assert repr(digest("vgw_desk")) not in repr(DESK)
    assert "digest" not in repr(DESK)


def test_a_key_opens_the_agents_it_names_or_all() -> None:
    assert (DESK.opens("desk"), DESK.opens("other"), BOSS.opens("other")) == (True, False, True)
    assert ANONYMOUS.opens("desk")


def test_keys_are_found_by_their_secret() -> None:
    keys = Keys([DESK, BOSS])
    assert (keys.find("vgw_desk"), keys.find("vgw_boss")) == (DESK, BOSS)
    assert keys.find("vgw_des") is keys.find("") is keys.find("\ud800") is None
    assert (len(keys), bool(keys), bool(Keys())) == (2, True, False)


def test_every_key_is_compared_in_constant_time_even_after_a_match(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[bytes] = []

    def compare(known: bytes, sought: bytes) -> bool:
        compared.append(known)
        return hmac.compare_digest(known, sought)

    monkeypatch.setattr(guard, "hmac", type("Watched", (), {"compare_digest": staticmethod(compare)}))
    assert Keys([DESK, BOSS]).find("vgw_desk") is DESK
    assert compared == [DESK.digest, BOSS.digest]


@pytest.mark.parametrize("scheme", [b"Bearer", b"bearer", b"BEARER"])
def test_a_bearer_key_comes_in_whatever_the_case_of_the_scheme(scheme: bytes) -> None:
    assert LOCKED.admit([bearer(b"vgw_desk", scheme)]) is DESK


def test_a_session_key_comes_in() -> None:
    assert LOCKED.admit([(b"x-session-api-key", b"vgw_boss")]) is BOSS


def test_the_same_key_in_both_headers_comes_in() -> None:
    assert LOCKED.admit([bearer(b" vgw_boss "), (b"x-session-api-key", b"vgw_boss")]) is BOSS


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
def test_without_a_key_nobody_comes_in_where_there_are_keys(headers: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(Unauthorized) as caught:
        LOCKED.admit(headers)
    assert caught.value.message == "No API key provided: send the header Authorization: Bearer YOUR_KEY."


@pytest.mark.parametrize(
    "secret", [b"vgw_wrong", b"vgw_desk2", b"VGW_DESK", b"vgw_desk,vgw_boss", b"\xff\xfe"]
)
def test_a_wrong_key_is_refused_and_not_repeated(secret: bytes) -> None:
    with pytest.raises(Unauthorized) as caught:
        LOCKED.admit([bearer(secret)])
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
        LOCKED.admit(headers)


def test_with_keys_host_proxies_and_origin_do_not_matter() -> None:
    headers = [(b"host", b"voice.example.com"), (b"x-forwarded-for", b"1.2.3.4"), (b"origin", b"https://a.b")]
    assert LOCKED.admit([*headers, bearer(b"vgw_desk")]) is DESK


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
def test_without_keys_this_machine_and_listed_hosts_come_in(host: bytes) -> None:
    assert OPEN.admit([(b"host", host)]) is ANONYMOUS


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
        OPEN.admit([(b"host", host)])
    assert caught.value.status == 403
    assert "Host" in caught.value.message


@pytest.mark.parametrize("headers", [[], [LOCAL, LOCAL], [LOCAL, (b"host", b"evil.example.com")]])
def test_without_keys_there_must_be_exactly_one_host(headers: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(Forbidden, match="Host"):
        OPEN.admit(headers)


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
    ],
)
def test_without_keys_nothing_comes_in_through_a_proxy_or_tunnel(name: bytes) -> None:
    with pytest.raises(Forbidden, match="proxy or tunnel"):
        OPEN.admit([LOCAL, (name, b"127.0.0.1")])


def test_without_keys_a_listed_web_page_comes_in() -> None:
    assert OPEN.admit([LOCAL, (b"origin", b"https://app.example.com")]) is ANONYMOUS


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
def test_without_keys_any_other_web_page_is_refused(origin: bytes) -> None:
    with pytest.raises(Forbidden, match=r"server\.origins"):
        OPEN.admit([LOCAL, (b"origin", origin)])


def test_without_keys_every_origin_must_be_listed() -> None:
    with pytest.raises(Forbidden, match=r"server\.origins"):
        OPEN.admit([LOCAL, (b"origin", b"https://app.example.com"), (b"origin", b"https://evil.example.com")])


def test_without_keys_a_key_is_neither_needed_nor_in_the_way() -> None:
    assert OPEN.admit([LOCAL, bearer(b"anything")]) is ANONYMOUS


def test_a_star_lists_no_origin() -> None:
    with pytest.raises(Forbidden):
        Door(Keys(), origins=["*"]).admit([LOCAL, (b"origin", b"https://evil.example.com")])


@given(st.lists(st.tuples(st.sampled_from([b"host", b"origin", b"authorization", b"via"]), st.binary())))
def test_no_header_makes_the_door_fail_otherwise(headers: list[tuple[bytes, bytes]]) -> None:
    for door in (OPEN, LOCKED):
        with suppress(Forbidden, Unauthorized):
            assert door.admit(headers) is ANONYMOUS
            assert door is OPEN


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("localhost", True),
        ("a.localhost", True),
        ("127.0.0.1", True),
        ("127.255.255.254", True),
        ("::1", True),
        ("[::1]", True),
        ("::ffff:127.0.0.1", True),
        ("0.0.0.0", False),
        ("::", False),
        ("", False),
        ("10.0.0.1", False),
        ("::ffff:10.0.0.1", False),
        ("example.com", False),
    ],
)
def test_loopback_is_this_machine_only(host: str, local: bool) -> None:
    assert loopback(host) is local


def test_turns_at_the_same_time_are_limited_and_an_ended_one_makes_room() -> None:
    limits = Limits(2)
    limits.begin(BOSS, 0.0)
    limits.begin(DESK, 0.0)
    with pytest.raises(Busy) as caught:
        limits.begin(BOSS, 0.0)
    assert (caught.value.after, caught.value.status, limits.turns) == (1.0, 429, 2)
    limits.end()
    limits.begin(BOSS, 0.0)
    assert limits.turns == 2


def spend(limits: Limits, key: Key, now: float) -> float | None:
    """One whole turn; the wait in seconds if it is refused."""
    try:
        limits.begin(key, now)
    except Busy as busy:
        return busy.after
    limits.end()
    return None


def test_a_key_may_spend_its_minute_at_once_and_gets_it_back_evenly() -> None:
    limits = Limits(9, 3)
    assert [spend(limits, BOSS, 0.0) for _ in range(4)] == [None, None, None, 20.0]
    assert [spend(limits, BOSS, at) for at in (15.0, 20.0, 20.0, 39.0, 40.0)] == [5.0, None, 20.0, 1.0, None]
    assert [spend(limits, BOSS, 1000.0) for _ in range(4)] == [None, None, None, 20.0]


@pytest.mark.parametrize("now", [0.0, 12345.678, 5e6 + 0.1])
@pytest.mark.parametrize("rate", [1, 7, 11, 49, 600, 997])
def test_the_burst_is_exactly_the_rate(rate: int, now: float) -> None:
    limits = Limits(1, rate)
    assert [spend(limits, BOSS, now) for _ in range(rate)] == [None] * rate
    wait = spend(limits, BOSS, now)
    assert wait is not None
    assert spend(limits, BOSS, now + wait) is None


def test_a_refused_turn_counts_nowhere() -> None:
    limits = Limits(1, 1)
    assert spend(limits, BOSS, 0.0) is None
    assert [spend(limits, BOSS, 30.0) for _ in range(3)] == [30.0, 30.0, 30.0]
    assert limits.turns == 0
    assert spend(limits, BOSS, 60.0) is None


def test_too_many_turns_at_once_cost_nothing_of_the_minute() -> None:
    limits = Limits(1, 2)
    limits.begin(DESK, 0.0)
    assert [spend(limits, BOSS, 0.0) for _ in range(5)] == [1.0] * 5
    limits.end()
    assert [spend(limits, BOSS, 0.0) for _ in range(3)] == [None, None, 30.0]


def test_keys_do_not_spend_each_others_minute() -> None:
    limits = Limits(9, 1)
    assert [spend(limits, key, 0.0) for key in (BOSS, ANONYMOUS, BOSS)] == [None, None, 60.0]


def test_a_keys_own_rate_wins_and_zero_is_no_limit() -> None:
    limits = Limits(9, 1)
    assert [spend(limits, DESK, 0.0) for _ in range(11)] == [None] * 10 + [6.0]
    free = Key("free", b"", requests_per_minute=0)
    assert {spend(limits, free, 0.0) for _ in range(1000)} == {None}
    assert {spend(Limits(9), BOSS, 0.0) for _ in range(1000)} == {None}


def test_workers_share_the_limits_and_each_keeps_at_least_one() -> None:
    shared = Limits(5, 6, workers=2)
    assert [spend(shared, BOSS, 0.0) for _ in range(4)] == [None, None, None, 20.0]
    for _ in range(2):
        shared.begin(DESK, 0.0)
    assert spend(shared, DESK, 0.0) == 1.0
    few = Limits(1, 1, workers=8)
    assert [spend(few, BOSS, 0.0) for _ in range(2)] == [None, 60.0]
    few.begin(DESK, 0.0)
    assert spend(few, DESK, 0.0) == 1.0


def test_memory_is_bounded_by_the_number_of_keys() -> None:
    limits = Limits(1, 100000)
    for turn in range(1000):
        spend(limits, BOSS if turn % 2 else ANONYMOUS, float(turn))
    assert set(limits._free) == {"boss", ""}


@pytest.mark.parametrize(
    ("peer", "lines", "client"),
    [
        ("192.0.2.1", [], "192.0.2.1"),
        ("192.0.2.1", ["203.0.113.9"], "192.0.2.1"),  # a stranger's word
        ("unix", ["203.0.113.9"], "unix"),
        ("", ["203.0.113.9"], ""),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", [""], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.9"], "203.0.113.9"),
        ("10.0.0.1", ["198.51.100.1, 203.0.113.9"], "203.0.113.9"),  # the left one may be forged
        ("10.0.0.1", ["198.51.100.1, 203.0.113.9, 10.0.0.2"], "203.0.113.9"),
        ("10.0.0.1", ["198.51.100.1", "203.0.113.9,10.0.0.2"], "203.0.113.9"),  # two header lines
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", ["203.0.113.9, unknown, 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", ["203.0.113.9, <script>"], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.9:5555"], "203.0.113.9"),
        ("10.0.0.1", ["[2001:db8::1]:5555"], "2001:db8::1"),
        ("10.0.0.1", ["2001:db8::1"], "2001:db8::1"),
        ("10.0.0.1", ["fe80::1%evil"], "10.0.0.1"),
        ("::ffff:10.0.0.1", ["203.0.113.9"], "203.0.113.9"),  # a dual-stack socket
        ("10.0.0.1", ["::ffff:203.0.113.9"], "203.0.113.9"),
        ("fd00::1", ["203.0.113.9, fd00::2"], "203.0.113.9"),
    ],
)
def test_the_clients_address_is_what_trusted_proxies_saw(peer: str, lines: list[str], client: str) -> None:
    assert client_address(peer, forwarded(*lines), PROXIES) == client


def test_without_trusted_proxies_forwarding_headers_mean_nothing() -> None:
    assert client_address("127.0.0.1", forwarded("203.0.113.9"), ()) == "127.0.0.1"
