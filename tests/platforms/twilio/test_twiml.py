"""TwiML, judged by Twilio's own library: the same document, whatever the order of attributes."""

from __future__ import annotations

from xml.etree.ElementTree import canonicalize, fromstring

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twilio.twiml import voice_response

from voicegw.platforms.twilio import twiml
from voicegw.platforms.twilio.settings import TwilioSettings

URL, ACTION = "wss://voice.example.com/twilio/relay", "https://voice.example.com/twilio/action?a=1&b=2"
TEXTS = st.text(st.characters(exclude_categories=("Cs",), min_codepoint=32), max_size=20)
NAMES = st.from_regex(r"[A-Za-z][A-Za-z0-9]{0,20}", fullmatch=True)


def same(ours: bytes, theirs: object) -> bool:
    return canonicalize(ours) == canonicalize(str(theirs))


def test_a_call_is_connected_as_twilio_s_library_would() -> None:
    connect = voice_response.Connect(action=ACTION)
    relay = connect.conversation_relay(
        url=URL,
        welcome_greeting='Say "Hi" & <wait>\n',
        language="de-DE",
        dtmf_detection=True,
        partial_prompts=False,
        interruptible="any",
        application_reconnect=True,
    )
    relay.language(code="en-US")
    relay.language(code="fr-FR")
    relay.parameter(name="shop", value="Müller & Söhne")
    relay.parameter(name="voicegw", value="1.ab")
    theirs = voice_response.VoiceResponse()
    theirs.append(connect)
    ours = twiml.connect(
        URL,
        action=ACTION,
        attributes={
            "welcomeGreeting": 'Say "Hi" & <wait>\n',
            "language": "de-DE",
            "dtmfDetection": True,
            "partialPrompts": False,
            "interruptible": "any",
            "applicationReconnect": True,
        },
        languages=("en-US", "fr-FR"),
        parameters={"shop": "Müller & Söhne", "voicegw": "1.ab"},
    )
    assert same(ours, theirs)


def test_the_table_s_attributes_are_those_of_twilio_s_library() -> None:
    table = TwilioSettings(greeting="Hi", voice="v", tts_provider="Google", transcription_provider="Deepgram")
    connect = voice_response.Connect()
    connect.conversation_relay(
        url=URL,
        language="en-US",
        welcome_greeting="Hi",
        voice="v",
        tts_provider="Google",
        transcription_provider="Deepgram",
        dtmf_detection=True,
        interruptible="any",
        welcome_greeting_interruptible="any",
        application_reconnect=True,
        partial_prompts=False,
    )
    theirs = voice_response.VoiceResponse()
    theirs.append(connect)
    assert same(twiml.connect(URL, attributes=table.relay()), theirs)


def test_the_least_is_an_address() -> None:
    connect = voice_response.Connect()
    connect.conversation_relay(url=URL)
    theirs = voice_response.VoiceResponse()
    theirs.append(connect)
    assert same(twiml.connect(URL), theirs)


@pytest.mark.parametrize("language", ["", "de-DE"])
def test_a_caller_for_whom_there_is_no_time_is_told_so(language: str) -> None:
    theirs = voice_response.VoiceResponse()
    theirs.say("Wir sind <sehr> beschäftigt.", **({"language": language} if language else {}))
    theirs.hangup()
    assert same(twiml.busy("Wir sind <sehr> beschäftigt.", language), theirs)


def test_a_call_is_put_through_or_left_alone() -> None:
    theirs = voice_response.VoiceResponse()
    assert same(twiml.empty_response(), theirs)
    theirs.dial("+4930123456")
    assert same(twiml.dial("+4930123456"), theirs)


@given(st.dictionaries(NAMES, TEXTS | st.booleans(), max_size=4), st.dictionaries(TEXTS, TEXTS, max_size=3))
def test_whatever_is_written_is_read_the_same(
    attributes: dict[str, str | bool], parameters: dict[str, str]
) -> None:
    attributes.pop("url", None)
    relay = fromstring(twiml.connect(URL, attributes=attributes, parameters=parameters)).find(
        "Connect/ConversationRelay"
    )
    assert relay is not None
    wanted = {
        name: str(value).lower() if value in (True, False) else value for name, value in attributes.items()
    }
    legal = twiml._legal
    assert relay.attrib == {"url": URL} | {name: legal(str(value)) for name, value in wanted.items()}
    assert [(child.get("name"), child.get("value")) for child in relay] == [
        (legal(name), legal(value)) for name, value in parameters.items()
    ]


@pytest.mark.parametrize("odd", ["\x00", "\x08", "\x1b", "\ud800", "\ufffe"])
def test_what_xml_cannot_hold_is_left_out(odd: str) -> None:
    said = fromstring(twiml.busy(f"a{odd}b", f"d{odd}e"))[0]
    assert (said.text, said.get("language")) == ("ab", "de")
