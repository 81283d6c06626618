"""The frames of an event stream, cut anywhere, broken anywhere, and judged by botocore."""

from __future__ import annotations

from contextlib import suppress
from struct import pack
from typing import Any
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.agents.bedrock.frames import HI, SLOW, event, frame, header, text, told
from voicegw.agents.bedrock.eventstream import LIMIT, EventStreamMessage, EventStreamParser
from voicegw.errors import AgentProtocolError

HEARD = EventStreamMessage(
    {":event-type": "contentBlockDelta", ":content-type": "application/json", ":message-type": "event"},
    b'{"contentBlockIndex":0,"delta":{"text":"Hi"},"p":"abcd"}',
)
ASKED = EventStreamMessage(
    {
        ":exception-type": "throttlingException",
        ":content-type": "application/json",
        ":message-type": "exception",
    },
    b'{"message":"slow down"}',
)
EVERY_KIND = (
    header("yes", 0, b"")
    + header("no", 1, b"")
    + header("byte", 2, b"\xff")
    + header("short", 3, b"\xff\xfe")
    + header("int", 4, pack(">i", -3))
    + header("long", 5, pack(">q", 2**40))
    + header("bytes", 6, b"\x00\x02\x00\xff")
    + header("täxt", 7, b"\x00\x03h\xc3\xa9")
    + header("moment", 8, pack(">q", 1_700_000_000_000))
    + header("uuid", 9, bytes(range(16)))
)


def read(*pieces: bytes) -> list[EventStreamMessage]:
    frames = EventStreamParser()
    return [found for piece in pieces for found in frames.feed(piece)]


def test_frames_are_read_as_they_are_written() -> None:
    assert read(HI + SLOW) == [HEARD, ASKED]
    assert event("contentBlockDelta", contentBlockIndex=0, delta={"text": "Hi"}, p="abcd") == HI


@pytest.mark.parametrize("size", range(1, len(HI)))
def test_any_pieces_give_the_same_frames(size: int) -> None:
    whole = HI + SLOW + HI
    assert read(*(whole[at : at + size] for at in range(0, len(whole), size))) == [HEARD, ASKED, HEARD]


def test_every_kind_of_header_is_read() -> None:
    assert read(frame(EVERY_KIND, b"{}")) == [
        EventStreamMessage(
            {
                "yes": True,
                "no": False,
                "byte": -1,
                "short": -2,
                "int": -3,
                "long": 2**40,
                "bytes": b"\x00\xff",
                "täxt": "hé",
                "moment": 1_700_000_000_000,
                "uuid": bytes(range(16)),
            },
            b"{}",
        )
    ]


def test_a_frame_may_be_empty() -> None:
    assert read(frame(b"")) == [EventStreamMessage({}, b"")]


def test_headers_that_change_are_read_anew() -> None:
    first, again, other = told({"a": "1"}), told({"a": "1"}, b"x"), told({"a": "2"})
    assert [found.headers["a"] for found in read(first + again + other)] == ["1", "1", "2"]


def test_what_is_held_is_an_unfinished_frame() -> None:
    frames = EventStreamParser()
    assert not frames.held
    assert [*frames.feed(b"")] == []
    assert not frames.held
    assert [*frames.feed(HI[:5])] == []
    assert frames.held
    assert [*frames.feed(HI[5:])] == [HEARD]
    assert not frames.held
    assert [*frames.feed(HI[:20])] == []
    assert frames.held


def begins(total: int, headers: int) -> bytes:
    """The beginning of a frame with right checksum and wrong lengths."""
    lengths = pack(">II", total, headers)
    return lengths + pack(">I", crc32(lengths))


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (HI[:8] + b"\x00" + HI[9:], "beginning fails its checksum"),
        (HI[:-1] + b"\x00", "a frame that fails its checksum"),
        (HI[:-6] + b"x" + HI[-5:], "a frame that fails its checksum"),
        (begins(LIMIT + 1, 0), "more than 4194304 bytes"),
        (begins(15, 0), "shorter than its parts"),
        (begins(20, 5), "shorter than its parts"),
        (begins(0, 0), "shorter than its parts"),
        (frame(header("a", 10, b"")), "unknown type 10"),
        (frame(text("a", "1") * 2), "two headers 'a'"),
        (frame(b"\x05ab"), "it is cut short"),
        (frame(b"\x01a"), "index out of range"),
        (frame(header("a", 4, b"\x00")), "a broken header: unpack_from"),
        (frame(header("a", 7, b"\x00")), "a broken header: unpack_from"),
        (frame(header("a", 7, b"\x00\x05ab")), "it is cut short"),
        (frame(header("a", 9, b"\x00" * 15)), "it is cut short"),
        (frame(header("a", 7, b"\x00\x01\xff")), "a broken header: 'utf-8'"),
        (frame(b"\x01\xff\x00"), "a broken header: 'utf-8'"),
        (b"HTTP/1.1 200 OK", "beginning fails its checksum"),
    ],
)
def test_what_is_no_frame_is_garbled(data: bytes, complaint: str) -> None:
    with pytest.raises(AgentProtocolError, match=complaint):
        read(data)


def test_frames_before_a_broken_one_are_given_first() -> None:
    frames = EventStreamParser().feed(HI + SLOW + HI[:-1] + b"x")
    assert [next(frames), next(frames)] == [HEARD, ASKED]
    with pytest.raises(AgentProtocolError, match="fails its checksum"):
        next(frames)


def test_a_frame_that_is_too_long_is_refused_from_its_beginning() -> None:
    with pytest.raises(AgentProtocolError, match="more than 100 bytes"):
        next(EventStreamParser(100).feed(HI[:12]))


def test_a_long_frame_in_small_pieces_is_put_together_once() -> None:
    """Else reading it takes time that grows with the square of its length."""
    whole = told({"a": "1"}, bytes(LIMIT - 100))
    [found] = read(*(whole[at : at + 100] for at in range(0, len(whole), 100)))
    assert found == EventStreamMessage({"a": "1"}, bytes(LIMIT - 100))


@given(st.binary(max_size=400), st.integers(1, 50))
def test_noise_never_raises_anything_else(data: bytes, size: int) -> None:
    with suppress(AgentProtocolError):
        read(*(data[at : at + size] for at in range(0, len(data), size)))


@given(st.binary(max_size=60), st.binary(max_size=20))
def test_headers_of_noise_never_raise_anything_else(headers: bytes, payload: bytes) -> None:
    with suppress(AgentProtocolError):
        assert read(frame(headers, payload))[0].payload == payload


@given(st.integers(0, len(HI) * 8 - 1))
def test_no_bit_can_be_flipped_unnoticed(bit: int) -> None:
    broken = bytearray(HI)
    broken[bit // 8] ^= 1 << bit % 8
    with pytest.raises(AgentProtocolError):
        read(bytes(broken))


# Judged by botocore


def by_botocore(data: bytes) -> list[EventStreamMessage]:
    buffer: Any = pytest.importorskip("botocore.eventstream").EventStreamBuffer()
    buffer.add_data(data)
    return [EventStreamMessage(message.headers, message.payload) for message in buffer]


def test_botocore_reads_the_same() -> None:
    data = HI + SLOW + frame(EVERY_KIND, b"payload") + frame(b"")
    assert read(data) == by_botocore(data)


names = st.text(max_size=20)
values = st.one_of(
    st.sampled_from([(0, b""), (1, b"")]),
    st.sampled_from([(2, 1), (3, 2), (4, 4), (5, 8), (8, 8), (9, 16)]).flatmap(
        lambda kind: st.binary(min_size=kind[1], max_size=kind[1]).map(lambda value: (kind[0], value))
    ),
    st.binary(max_size=50).map(lambda value: (6, pack(">H", len(value)) + value)),
    st.text(max_size=50).map(lambda value: (7, pack(">H", len(value.encode())) + value.encode())),
)


@given(st.lists(st.tuples(st.dictionaries(names, values, max_size=4), st.binary(max_size=50)), max_size=4))
def test_botocore_reads_the_same_in_all_frames(written: list[tuple[dict[str, Any], bytes]]) -> None:
    data = b"".join(
        frame(b"".join(header(name, *value) for name, value in headers.items()), payload)
        for headers, payload in written
    )
    assert read(data) == by_botocore(data)
