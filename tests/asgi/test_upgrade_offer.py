"""An offer of another protocol is removed from a head, however its packets are cut."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicegw.asgi.upgrade_offer import MAX_HELD_BYTES, remove_upgrade_offer

LINES = [
    b"upgrade: h2c",
    b"Upgrade:h2c",
    b"UPGRADE: \t TLS/1.0",
    b"Upgrade: websocket",
    b"upgrade:WebSocket",
    b"upgrade: web",
    b"connection: Upgrade, HTTP2-Settings",
    b"x-upgrade: h2c",
    b"host: localhost",
    b"u:",
]


def remove_all(packets: list[bytes]) -> bytes:
    parsed, held = b"", b""
    for packet in packets:
        out, held = remove_upgrade_offer(held + packet)
        parsed += out
    return parsed + held


@given(st.lists(st.sampled_from(LINES)), st.lists(st.integers(0, 400)), st.sampled_from([b"\r\n", b"\n"]))
def test_packets_of_any_size_give_the_same_head(
    lines: list[bytes], cuts: list[int], line_break: bytes
) -> None:
    head = line_break.join([b"POST /upgrade: HTTP/1.1", *lines, b"", b""])
    bounds = [0, *sorted(cut for cut in cuts if cut < len(head)), len(head)]
    whole = remove_all([head])
    assert remove_all([head[start:end] for start, end in pairwise(bounds)]) == whole
    found = whole.split(line_break)[1:-2]
    for line, kept in zip(lines, found, strict=True):
        offers = line.lower().startswith(b"upgrade:") and b"websocket" not in line.lower()
        assert kept == (b"x-upgrade:" + line[8:] if offers else line)


def test_a_body_stays_as_it_is() -> None:
    data = b"POST / HTTP/1.1\r\nupgrade: h2c\r\n\r\n\r\nupgrade: h2c\r\n"
    assert remove_upgrade_offer(data) == (data.replace(b"\r\nupgrade", b"\r\nx-upgrade", 1), b"")
    assert remove_upgrade_offer(b"\n\r\n\nupgrade: h2c") == (b"\n\r\n\nupgrade: h2c", b"")


@pytest.mark.parametrize(
    "data", [b"GET / HTTP/1.1", b"\x16\x03\x01", b"", b"upgrade: h2", b"\nhost: x", b"\r"]
)
def test_other_bytes_pass_at_once(data: bytes) -> None:
    assert remove_upgrade_offer(data) == (data, b"")


def test_few_bytes_are_held() -> None:
    line = b"\nupgrade:" + b" " * MAX_HELD_BYTES
    assert remove_upgrade_offer(line) == (line.replace(b"upgrade", b"x-upgrade"), b"")
