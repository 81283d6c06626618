"""The platforms' sections of the configuration: valid and required keys, and their values."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from tests.config.files import DESK, HASH, MODEL, SECRET, file, load_problems, load_text
from voicegw.calls.codec import ACTIONS
from voicegw.platforms.retell import turn as retell
from voicegw.platforms.retell.settings import RetellAction, RetellSettings
from voicegw.platforms.telnyx.settings import RelayAction, TelnyxSettings
from voicegw.platforms.twilio.settings import ATTRIBUTES, TwilioAction, TwilioSettings

__all__ = ["file"]

TOKEN = "0123456789abcdef"
PUBLIC = '[server]\npublic_url = "https://voice.example.com"\n'
OPEN = f'[server]\nhost = "0.0.0.0"\npublic_url = "https://voice.example.com"\n[keys.a]\nhash = "{HASH}"\n'
TABLES = [("twilio", "auth_token_env"), ("telnyx", "token_env"), ("retell", "secret_env")]


def test_platform_without_a_section_is_not_served(file: Path) -> None:
    config = load_text(file, DESK)
    assert (config.twilio, config.telnyx, config.retell, config.platforms) == (None, None, None, {})
    config = load_text(file, f"[retell]\n[twilio]\n{DESK}")
    assert config.platforms == {"twilio": TwilioSettings(), "retell": RetellSettings()}


def test_whole_section_is_parsed(file: Path) -> None:
    config = load_text(
        file,
        f"""
        {PUBLIC}
        [limits]
        concurrent_calls = 20
        {DESK}
        [twilio]
        agent = "desk"
        auth_token_env = "A"
        signing_key_env = "B"
        language = "de-DE"
        greeting = "Guten Tag!"
        concurrent_calls = 3
        actions = ["end_call", "transfer_call", "send_digits", "switch_language", "play_audio"]
        languages = ["en-US"]
        voice = "v"
        tts_provider = "Google"
        transcription_provider = "Deepgram"
        dtmf = false
        interruptible = "speech"
        welcome_greeting_interruptible = "none"
        reconnect = false
        partial = "speculate"
        attributes = {{ speechModel = "nova", hints = "a,b" }}
        parameters = {{ shop = "7" }}
        """,
        {"A": TOKEN, "B": "b"},
    )
    twilio = config.twilio
    assert twilio is not None
    assert (config.server.public_url, config.limits.concurrent_calls) == ("https://voice.example.com", 20)
    assert (twilio.agent, twilio.concurrent_calls, twilio.parameters) == ("desk", 3, {"shop": "7"})
    assert (twilio.actions, twilio.languages) == (ACTIONS, ("en-US",))
    assert (config.get_secret("A"), config.get_secret("B")) == (TOKEN, "b")
    assert twilio.relay_attributes() == {
        "language": "de-DE",
        "welcomeGreeting": "Guten Tag!",
        "voice": "v",
        "ttsProvider": "Google",
        "transcriptionProvider": "Deepgram",
        "dtmfDetection": False,
        "interruptible": "speech",
        "welcomeGreetingInterruptible": "none",
        "applicationReconnect": False,
        "partialPrompts": True,
        "speechModel": "nova",
        "hints": "a,b",
    }


def test_unset_attributes_are_left_to_twilio() -> None:
    assert TwilioSettings().relay_attributes() == {
        "language": "en-US",
        "dtmfDetection": True,
        "interruptible": "any",
        "welcomeGreetingInterruptible": "any",
        "applicationReconnect": True,
        "partialPrompts": False,
    }


def test_public_url_loses_its_trailing_slash(file: Path) -> None:
    for url in ("https://voice.example.com:8443", "https://voice.example.com:8443/"):
        config = load_text(file, f'[server]\npublic_url = "{url}"\n{DESK}')
        assert config.server.public_url == "https://voice.example.com:8443"


def test_each_platform_has_the_actions_of_its_codec() -> None:
    assert get_args(TwilioAction) == ACTIONS
    assert {*get_args(RelayAction)} == {*ACTIONS} - {"transfer_call"}
    assert get_args(RetellAction) == retell.ACTIONS_BY_PRIORITY


def test_every_attribute_has_an_existing_key() -> None:
    assert set(ATTRIBUTES.values()) <= TwilioSettings.model_fields.keys()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("twilio = 1", "twilio: must be a table"),
        ("[twilio]\nvoise = 1", 'twilio.voise: unknown key; did you mean "voice"?'),
        ("[telnyx]\nvoice = 'x'", "telnyx.voice: unknown key; known are "),
        ('[retell]\nsecret = "x"', 'retell.secret: unknown key; did you mean "secret_env"?'),
        ('[twilio]\nagent = "dseks"', 'twilio.agent: there is no agent "dseks"; did you mean "desk"?'),
        ('[retell]\nagent = "zzz"', 'retell.agent: there is no agent "zzz"; known are "desk"'),
        (
            '[twilio]\nlanguage = "English"',
            'twilio.language: must be a language tag such as "en" or "pt-BR"',
        ),
        (
            f'[twilio]\nauth_token_env = "{SECRET}"',
            "twilio.auth_token_env: must be the name of an environment variable, not a secret itself",
        ),
        (
            '[twilio]\nactions = ["end_call", "fly"]',
            'twilio.actions[1]: must be "end_call", "transfer_call", "send_digits", "switch_language" '
            'or "play_audio"',
        ),
        (
            '[telnyx]\nactions = ["transfer_call"]',
            'telnyx.actions[0]: must be "end_call", "send_digits", "switch_language" or "play_audio"',
        ),
        (
            '[retell]\nactions = ["play_audio"]',
            'retell.actions[0]: must be "end_call", "transfer_call" or "send_digits"',
        ),
        ('[retell]\nactions = "end_call"', "retell.actions: must be a list"),
        (
            '[twilio]\nactions = ["switch_language"]',
            "twilio: the action switch_language needs languages: Twilio switches to no others",
        ),
        (
            '[twilio]\ninterruptible = "maybe"',
            'twilio.interruptible: must be "any", "speech", "dtmf" or "none"',
        ),
        ('[telnyx]\npartial = "yes"', 'telnyx.partial: must be "ignore" or "speculate"'),
        ('[retell]\nphone_region = "de"', 'retell.phone_region: must be the code of a country such as "DE"'),
        ('[retell]\nphone_region = "XX"', 'retell: phone_region "XX" is not the code of a country'),
        ("[twilio]\ntransfer_to = []", "twilio.transfer_to: must not be empty"),
        (
            '[twilio]\ntransfer_to = ["+4930*", "my boss"]',
            'twilio: "my boss" is neither a number such as "+15550100199" nor a prefix such as "+4930*"',
        ),
        ("[retell]\nconcurrent_calls = 0", "retell.concurrent_calls: must be greater than or equal to 1"),
        (
            '[twilio]\nattributes = { "a b" = "c" }',
            'twilio.attributes."a b": must be the name of an attribute such as "speechModel"',
        ),
        (
            '[twilio]\nattributes = { url = "c" }',
            "twilio.attributes.url: is set by the gateway; leave it out",
        ),
        (
            '[twilio]\nattributes = { ttsProvider = "c" }',
            "twilio.attributes.ttsProvider: has its own key; use tts_provider",
        ),
        ("[twilio]\nfailover = [1]", "twilio.failover[0]: must be a table"),
        (
            '[twilio]\nfailover = [{ "a b" = "c" }]',
            'twilio.failover[0]."a b": must be the name of an attribute such as "speechModel"',
        ),
        (
            '[twilio]\nlanguage_attributes = { de-DE = { voice = "v" } }',
            'twilio: language_attributes."de-DE" is neither language nor one of languages',
        ),
        (
            '[twilio]\nparameters = { voicegw-resumed = "x" }',
            "twilio.parameters.voicegw-resumed: is reserved by the gateway; use another name",
        ),
        ("[twilio]\nattributes = { debug = 1 }", "twilio.attributes.debug: must be a valid string"),
        (
            '[twilio]\nparameters = { voicegw = "x" }',
            "twilio.parameters.voicegw: is reserved by the gateway; use another name",
        ),
    ],
)
def test_invalid_value_is_reported_with_the_valid_ones(file: Path, text: str, problem: str) -> None:
    [found] = load_problems(file, f"{text}\n{DESK}")
    assert found.startswith(problem) if problem.endswith("are ") else found == problem
    assert SECRET not in found


@pytest.mark.parametrize(
    ("table", "key"), [*TABLES, ("twilio", "signing_key_env"), ("retell", "api_key_env")]
)
def test_missing_environment_variable_is_named(file: Path, table: str, key: str) -> None:
    assert load_problems(file, f'{PUBLIC}[{table}]\n{key} = "A"\n{DESK}') == [
        f"{table}.{key}: the environment variable A is not set"
    ]


@pytest.mark.parametrize(("table", "key"), TABLES[1:])
@pytest.mark.parametrize("secret", ["0123456789abcde", "0123456789/abcdef", "0123456789abcdef%", "é" * 20])
def test_secret_in_a_path_must_be_long_and_plain(file: Path, table: str, key: str, secret: str) -> None:
    [problem] = load_problems(file, f'[{table}]\n{key} = "A"\n{DESK}', {"A": secret})
    assert problem.startswith(f"{table}.{key}: the environment variable A ")
    assert problem.endswith("a segment of an address") or not secret.isascii()
    assert secret not in problem
    assert load_text(file, f'[{table}]\n{key} = "A"\n{DESK}', {"A": TOKEN}).platforms


@pytest.mark.parametrize(("table", "key"), TABLES)
def test_public_gateway_needs_a_secret_of_each_platform(file: Path, table: str, key: str) -> None:
    assert load_problems(file, f"{OPEN}[{table}]\n{MODEL}") == [
        f"{table}.{key}: is missing, and 0.0.0.0 can be reached from other machines; "
        "without it any client could claim to be the platform"
    ]
    assert load_text(file, f'{OPEN}[{table}]\n{key} = "A"\n{MODEL}', {"A": TOKEN}).platforms
    assert not load_text(file, f"[{table}]\n{MODEL}").platforms[table].authenticates_calls


def test_webhook_key_does_not_protect_the_websocket(file: Path) -> None:
    [problem] = load_problems(file, f'{OPEN}[retell]\napi_key_env = "A"\n{MODEL}', {"A": TOKEN})
    assert problem.startswith("retell.secret_env: is missing")


def test_either_secret_of_twilio_is_enough_and_needs_the_public_url(file: Path) -> None:
    for key in ("auth_token_env", "signing_key_env"):
        table = f'[twilio]\n{key} = "A"\n{DESK}'
        assert load_text(file, OPEN + table, {"A": "a"}).platforms["twilio"].authenticates_calls
        assert load_problems(file, table, {"A": "a"}) == [
            "server.public_url: is missing; [twilio] calls this address and signs it"
        ]


def test_numbers_without_a_country_code_are_of_the_region_or_the_language() -> None:
    for settings in (RetellSettings(phone_region="DE"), TwilioSettings(language="de-DE")):
        policy = settings.transfer_policy(("transfer_call",))
        assert policy is not None
        assert policy.resolve("030 123456") == "+4930123456"
        assert settings.transfer_policy(("end_call",)) is None


def test_telnyx_has_no_settings_that_belong_into_its_texml() -> None:
    shared = TwilioSettings.model_fields.keys() & TelnyxSettings.model_fields.keys()
    assert shared == {
        "agent",
        "language",
        "greeting",
        "concurrent_calls",
        "actions",
        "partial",
        "false_interruption",
        "false_interruption_timeout",
        "chars_per_second",
    }
