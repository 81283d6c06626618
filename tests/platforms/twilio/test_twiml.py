"""TwiML compared with the documents of Twilio's own library; the order of attributes does not count."""

from __future__ import annotations

from xml.etree.ElementTree import canonicalize, fromstring

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twilio.twiml import TwiML, voice_response

from voicegw.platforms.twilio import twiml
from voicegw.platforms.twilio.settings import TwilioSettings

URL, ACTION = "wss://voice.example.com/twilio/relay", "https://voice.example.com/twilio/action?a=1&b=2"
TEXTS = st.text(st.characters(exclude_categories=("Cs",), min_codepoint=32), max_size=20)
NAMES = st.from_regex(r"[A-Za-z][A-Za-z0-9]{0,20}", fullmatch=True)


class Failover(TwiML):
    """The element that the library has not yet, with attributes by Twilio's names."""

    def __init__(self, **attributes: str) -> None:
        super().__init__()
        self.name = "Failover"
        self.attrs = attributes


def is_same(ours: bytes, theirs: object) -> bool:
    return canonicalize(ours) == canonicalize(str(theirs))


def test_connect_relay_equals_the_document_of_the_library() -> None:
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
    relay.language(code="fr-FR", voice="v")
    relay.append(Failover(ttsProvider="Google"))
    relay.parameter(name="shop", value="Müller & Söhne")
    relay.parameter(name="voicegw", value="1.ab")
    theirs = voice_response.VoiceResponse()
    theirs.append(connect)
    ours = twiml.connect_relay(
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
        failover=[{"ttsProvider": "Google"}],
        languages={"en-US": {}, "fr-FR": {"voice": "v"}},
        parameters={"shop": "Müller & Söhne", "voicegw": "1.ab"},
    )
    assert is_same(ours, theirs)


def test_settings_have_the_attributes_of_the_library() -> None:
    settings = TwilioSettings(
        greeting="Hi", voice="v", tts_provider="Google", transcription_provider="Deepgram"
    )
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
    assert is_same(twiml.connect_relay(URL, attributes=settings.relay_attributes()), theirs)


def test_connect_relay_needs_only_a_url() -> None:
    connect = voice_response.Connect()
    connect.conversation_relay(url=URL)
    theirs = voice_response.VoiceResponse()
    theirs.append(connect)
    assert is_same(twiml.connect_relay(URL), theirs)


@pytest.mark.parametrize("language", ["", "de-DE"])
def test_say_and_hang_up_equals_the_document_of_the_library(language: str) -> None:
    theirs = voice_response.VoiceResponse()
    theirs.say("Wir sind <sehr> beschäftigt.", **({"language": language} if language else {}))
    theirs.hangup()
    assert is_same(twiml.say_and_hang_up("Wir sind <sehr> beschäftigt.", language), theirs)


def test_dial_and_empty_response_equal_the_documents_of_the_library() -> None:
    theirs = voice_response.VoiceResponse()
    assert is_same(twiml.empty_response(), theirs)
    theirs.dial("+4930123456", action=ACTION)
    assert is_same(twiml.dial("+4930123456", ACTION), theirs)


@given(st.dictionaries(NAMES, TEXTS | st.booleans(), max_size=4), st.dictionaries(TEXTS, TEXTS, max_size=3))
def test_attributes_and_parameters_survive_parsing(
    attributes: dict[str, str | bool], parameters: dict[str, str]
) -> None:
    attributes.pop("url", None)
    relay = fromstring(twiml.connect_relay(URL, attributes=attributes, parameters=parameters)).find(
        "Connect/ConversationRelay"
    )
    assert relay is not None
    wanted = {
        name: str(value).lower() if value in (True, False) else value for name, value in attributes.items()
    }
    legal = twiml._strip_illegal
    assert relay.attrib == {"url": URL} | {name: legal(str(value)) for name, value in wanted.items()}
    assert [(child.get("name"), child.get("value")) for child in relay] == [
        (legal(name), legal(value)) for name, value in parameters.items()
    ]


@pytest.mark.parametrize("character", ["\x00", "\x08", "\x1b", "\ud800", "\ufffe"])
def test_characters_that_xml_cannot_hold_are_left_out(character: str) -> None:
    say = fromstring(twiml.say_and_hang_up(f"a{character}b", f"d{character}e"))[0]
    assert (say.text, say.get("language")) == ("ab", "de")
