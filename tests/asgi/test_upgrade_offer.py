"""Offers of other protocols are found in a head, however its packets are cut, and ignored if needed."""

from __future__ import annotations

import pytest

from voicegw.asgi.upgrade_offer import ignore_offer, split_at_offers


@pytest.mark.parametrize(
    ("data", "pieces"),
    [
        (
            b"POST / HTTP/1.1\r\nUPGRADE: h2c\r\nhost: x",
            [b"POST / HTTP/1.1\r\n", b"*UPGRADE: h2c\r", b"\nhost: x"],
        ),
        (b"a\nupgrade: 1\nupgrade: 2", [b"a\n", b"*upgrade: 1", b"\n", b"*upgrade: 2"]),
        (b"a\nupg", [b"a\n", b"*upg"]),
        (b"a\nU", [b"a\n", b"*U"]),
        (b"a\nx-upgrade: h2c", [b"a\nx-upgrade: h2c"]),
        (b"a\n", [b"a\n"]),
        (b"", []),
    ],
)
def test_lines_that_may_be_offers_are_pieces(data: bytes, pieces: list[bytes]) -> None:
    found = split_at_offers(data, at_line_start=False)
    assert [b"*" * may_offer + piece for piece, may_offer in found] == pieces


def test_first_line_counts_only_after_a_line_break() -> None:
    assert split_at_offers(b"upgrade: h2c", at_line_start=True) == [(b"upgrade: h2c", True)]
    assert split_at_offers(b"upgrade: h2c", at_line_start=False) == [(b"upgrade: h2c", False)]


@pytest.mark.parametrize("line", [b"Upgrade: websocket\r", b"upgrade:\tWebSocket"])
def test_only_a_get_request_of_http_1_1_may_offer_websockets(line: bytes) -> None:
    assert ignore_offer(line, b"GET", "1.1") == line
    assert ignore_offer(line, b"POST", "1.1") == ignore_offer(line, b"GET", "1.0") == b"x-" + line


@pytest.mark.parametrize(
    "line", [b"Upgrade: h2c", b"upgrade: websockets", b"upgrade: h2c, websocket", b"upgrade:"]
)
def test_every_other_protocol_is_ignored(line: bytes) -> None:
    assert ignore_offer(line, b"GET", "1.1") == b"x-" + line
