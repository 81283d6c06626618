"""The part of a reply that the caller heard, in every script and between the gateway's own words."""

from __future__ import annotations

import unicodedata
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicegw.conversations.spoken_reply import SpokenReply, heard_end, is_beginning, word_end


@pytest.mark.parametrize(
    ("text", "report", "heard"),
    [
        ("好的，我们周二到周六营业，早上九点开门。", "好的，我们周二到周六", "好的，我们周二到周六"),
        ("はい、火曜日から土曜日まで営業しております。", "はい、火曜日から", "はい、火曜日から"),
        ("ハイ、カヨウビから", "ハイ、カ", "ハイ、カ"),
        ("เราเปิดวันอังคารถึงวันเสาร์", "เราเปิดวันอังคาร", "เราเปิดวันอังคาร"),
        ("영업시간은 아홉 시부터입니다.", "영업시간은 아홉", "영업시간은 아홉"),
        ("영업시간은 아홉 시부터입니다.", "영업", ""),
        ("我们 iPhone 店九点开门。", "我们 iPho", "我们"),
        ("Good morning.", "Goo", ""),
        ("Good morning.", "Good", "Good"),
        ("Good morning.", "Good mor", "Good"),
        ("Good morning.", "Good morning", "Good morning."),
        ("Good morning.", "", ""),
        ("Good morning.", "...", ""),
        ("Hello, there.", "hello", "Hello,"),
        ("I don't know.", "I don", "I"),
        ("It costs 3.50 euros.", "It costs 3", "It costs"),
        ("Straße 5 is near.", "STRASSE 5", "Straße 5"),
        ("Guten Tag", "Guten Tag und mehr", "Guten Tag"),
        ("Guten Tag", "Hallo", None),
        ("We are open", "We were", "We"),
        ("", "We", None),
    ],
)
def test_heard_text_is_cut_at_words_of_its_language(text: str, report: str, heard: str | None) -> None:
    assert SpokenReply(text).heard_text(report) == heard


TEXT = "One moment. Let me look. Still working on it. There is Monday at ten, or Friday."
OWN = ((0, 12), (25, 46))


@pytest.mark.parametrize(
    ("report", "heard"),
    [
        ("One mo", ""),
        ("One moment.", ""),
        ("One moment. Let me", "Let me"),
        ("One moment. Let me look. Still wor", "Let me look."),
        ("One moment. Let me look. Still working on it. There is Monday", "Let me look. There is Monday"),
        ("Let me look. There is Monday", "Let me look. There is Monday"),
        (TEXT, "Let me look. There is Monday at ten, or Friday."),
        ("One moment. Nothing", ""),
        ("Another reply", None),
    ],
)
def test_own_words_count_as_heard_anywhere_in_the_reply(report: str, heard: str | None) -> None:
    reply = SpokenReply(TEXT, OWN)
    assert reply.agent_text == "Let me look. There is Monday at ten, or Friday."
    assert reply.heard_text(report) == heard


def test_a_report_names_a_reply_by_its_whole_beginning() -> None:
    reply = SpokenReply(TEXT, OWN)
    assert reply.has_beginning("one moment let me")
    assert reply.has_beginning("Let me look. There")
    assert not reply.has_beginning("One moment. Nothing")
    assert is_beginning("", "")
    assert not is_beginning("a", "")


@given(st.text(max_size=40), st.data())
def test_every_heard_part_is_a_beginning_of_the_reply(text: str, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(text)))
    end = heard_end(text, text[:cut])
    assert 0 <= end <= len(text)
    assert word_end(text, end) in (end, 0) or text[:end]
    assert heard_end(text, text) == len(text.rstrip()) or not text[heard_end(text, text) :].strip().isalnum()
    assert is_beginning(text[:cut], text)


@given(st.text(max_size=40), st.text(max_size=40))
def test_no_report_is_a_failure(text: str, report: str) -> None:
    heard = SpokenReply(text).heard_text(report)
    assert heard is None or text.strip().startswith(heard)


@pytest.mark.parametrize("form", ["NFC", "NFD", "NFKC", "NFKD"])
@pytest.mark.parametrize(
    "spoken", ["Schönes Café, ½ Preis.", "네, 화요일부터 영업합니다.", "Ｎｏ．１ がいい"]
)
def test_unicode_form_of_the_report_does_not_count(
    form: Literal["NFC", "NFD", "NFKC", "NFKD"], spoken: str
) -> None:
    words = spoken.rpartition(" ")[0]
    assert SpokenReply(spoken).heard_text(unicodedata.normalize(form, words)) == words
    assert SpokenReply(unicodedata.normalize("NFD", spoken)).has_beginning(
        unicodedata.normalize("NFC", words)
    )
