"""Messages of an event stream, cut anywhere, broken anywhere, and compared with botocore."""

from __future__ import annotations

from contextlib import suppress
from struct import pack
from typing import Any
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.agents.bedrock.frames import (
    HI_DELTA,
    THROTTLED,
    encode_header,
    encode_message,
    event,
    string_header,
    string_message,
)
from voicegw.agents.bedrock.eventstream import MAX_MESSAGE_BYTES, EventStreamMessage, EventStreamParser
from voicegw.errors import AgentProtocolError

HI_MESSAGE = EventStreamMessage(
    {":event-type": "contentBlockDelta", ":content-type": "application/json", ":message-type": "event"},
    b'{"contentBlockIndex":0,"delta":{"text":"Hi"},"p":"abcd"}',
)
THROTTLED_MESSAGE = EventStreamMessage(
    {
        ":exception-type": "throttlingException",
        ":content-type": "application/json",
        ":message-type": "exception",
    },
    b'{"message":"slow down"}',
)
EVERY_KIND = (
    encode_header("yes", 0, b"")
    + encode_header("no", 1, b"")
    + encode_header("byte", 2, b"\xff")
    + encode_header("short", 3, b"\xff\xfe")
    + encode_header("int", 4, pack(">i", -3))
    + encode_header("long", 5, pack(">q", 2**40))
    + encode_header("bytes", 6, b"\x00\x02\x00\xff")
    + encode_header("täxt", 7, b"\x00\x03h\xc3\xa9")
    + encode_header("moment", 8, pack(">q", 1_700_000_000_000))
    + encode_header("uuid", 9, bytes(range(16)))
)


def parse(*pieces: bytes) -> list[EventStreamMessage]:
    frames = EventStreamParser()
    return [found for piece in pieces for found in frames.feed(piece)]


def test_messages_are_decoded() -> None:
    assert parse(HI_DELTA + THROTTLED) == [HI_MESSAGE, THROTTLED_MESSAGE]
    assert event("contentBlockDelta", contentBlockIndex=0, delta={"text": "Hi"}, p="abcd") == HI_DELTA


@pytest.mark.parametrize("size", range(1, len(HI_DELTA)))
def test_any_pieces_give_the_same_messages(size: int) -> None:
    whole = HI_DELTA + THROTTLED + HI_DELTA
    assert parse(*(whole[at : at + size] for at in range(0, len(whole), size))) == [
        HI_MESSAGE,
        THROTTLED_MESSAGE,
        HI_MESSAGE,
    ]


def test_every_header_type_is_decoded() -> None:
    assert parse(encode_message(EVERY_KIND, b"{}")) == [
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


def test_message_may_be_empty() -> None:
    assert parse(encode_message(b"")) == [EventStreamMessage({}, b"")]


def test_changed_headers_are_decoded_again() -> None:
    first, again, other = (
        string_message({"a": "1"}),
        string_message({"a": "1"}, b"x"),
        string_message({"a": "2"}),
    )
    assert [found.headers["a"] for found in parse(first + again + other)] == ["1", "1", "2"]


def test_partial_message_is_reported() -> None:
    frames = EventStreamParser()
    assert not frames.has_partial_message
    assert [*frames.feed(b"")] == []
    assert not frames.has_partial_message
    assert [*frames.feed(HI_DELTA[:5])] == []
    assert frames.has_partial_message
    assert [*frames.feed(HI_DELTA[5:])] == [HI_MESSAGE]
    assert not frames.has_partial_message
    assert [*frames.feed(HI_DELTA[:20])] == []
    assert frames.has_partial_message


def prelude(total: int, headers: int) -> bytes:
    """Return a prelude with a right checksum and wrong lengths."""
    lengths = pack(">II", total, headers)
    return lengths + pack(">I", crc32(lengths))


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (HI_DELTA[:8] + b"\x00" + HI_DELTA[9:], "beginning fails its checksum"),
        (HI_DELTA[:-1] + b"\x00", "a message that fails its checksum"),
        (HI_DELTA[:-6] + b"x" + HI_DELTA[-5:], "a message that fails its checksum"),
        (prelude(MAX_MESSAGE_BYTES + 1, 0), "more than 4194304 bytes"),
        (prelude(15, 0), "shorter than its parts"),
        (prelude(20, 5), "shorter than its parts"),
        (prelude(0, 0), "shorter than its parts"),
        (encode_message(encode_header("a", 10, b"")), "unknown type 10"),
        (encode_message(string_header("a", "1") * 2), "two headers of the same name: a"),
        (encode_message(b"\x05ab"), "it is cut short"),
        (encode_message(b"\x01a"), "index out of range"),
        (encode_message(encode_header("a", 4, b"\x00")), "a broken header: unpack_from"),
        (encode_message(encode_header("a", 7, b"\x00")), "a broken header: unpack_from"),
        (encode_message(encode_header("a", 7, b"\x00\x05ab")), "it is cut short"),
        (encode_message(encode_header("a", 9, b"\x00" * 15)), "it is cut short"),
        (b"HTTP/1.1 200 OK", "beginning fails its checksum"),
    ],
)
def test_wrong_message_raises_a_protocol_error(data: bytes, complaint: str) -> None:
    with pytest.raises(AgentProtocolError, match=complaint):
        parse(data)


def test_messages_before_a_broken_one_are_yielded_first() -> None:
    frames = EventStreamParser().feed(HI_DELTA + THROTTLED + HI_DELTA[:-1] + b"x")
    assert [next(frames), next(frames)] == [HI_MESSAGE, THROTTLED_MESSAGE]
    with pytest.raises(AgentProtocolError, match="fails its checksum"):
        next(frames)


def test_too_long_message_is_refused_from_its_prelude() -> None:
    with pytest.raises(AgentProtocolError, match="more than 100 bytes"):
        next(EventStreamParser(100).feed(HI_DELTA[:12]))


def test_long_message_in_small_pieces_is_joined_once() -> None:
    """Otherwise decoding would take time that grows with the square of the length."""
    whole = string_message({"a": "1"}, bytes(MAX_MESSAGE_BYTES - 100))
    [found] = parse(*(whole[at : at + 100] for at in range(0, len(whole), 100)))
    assert found == EventStreamMessage({"a": "1"}, bytes(MAX_MESSAGE_BYTES - 100))


@given(st.binary(max_size=400), st.integers(1, 50))
def test_random_bytes_give_messages_or_a_protocol_error(data: bytes, size: int) -> None:
    with suppress(AgentProtocolError):
        parse(*(data[at : at + size] for at in range(0, len(data), size)))


@given(st.binary(max_size=60), st.binary(max_size=20))
def test_random_headers_give_messages_or_a_protocol_error(headers: bytes, payload: bytes) -> None:
    with suppress(AgentProtocolError):
        assert parse(encode_message(headers, payload))[0].payload == payload


@given(st.integers(0, len(HI_DELTA) * 8 - 1))
def test_every_flipped_bit_raises_a_protocol_error(bit: int) -> None:
    broken = bytearray(HI_DELTA)
    broken[bit // 8] ^= 1 << bit % 8
    with pytest.raises(AgentProtocolError):
        parse(bytes(broken))


# Compared with botocore


def by_botocore(data: bytes) -> list[EventStreamMessage]:
    buffer: Any = pytest.importorskip("botocore.eventstream").EventStreamBuffer()
    buffer.add_data(data)
    return [EventStreamMessage(message.headers, message.payload) for message in buffer]


def test_botocore_decodes_the_same() -> None:
    data = HI_DELTA + THROTTLED + encode_message(EVERY_KIND, b"payload") + encode_message(b"")
    assert parse(data) == by_botocore(data)


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
def test_botocore_decodes_every_message_the_same(written: list[tuple[dict[str, Any], bytes]]) -> None:
    data = b"".join(
        encode_message(b"".join(encode_header(name, *value) for name, value in headers.items()), payload)
        for headers, payload in written
    )
    assert parse(data) == by_botocore(data)


def test_header_that_is_no_utf_8_is_read_with_replacement_characters() -> None:
    [message] = parse(encode_message(encode_header("a", 7, b"\x00\x01\xff") + b"\x01\xff\x00"))
    assert message.headers == {"a": "\ufffd", "\ufffd": True}
