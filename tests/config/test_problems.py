"""Error messages about the content of a configuration file."""

from __future__ import annotations

import tomllib
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.config.files import (
    CONFIGS,
    DESK,
    HASH,
    KINDS,
    MODEL,
    SECRET,
    URL_PROBLEM,
    load_problems,
    load_text,
)
from voicegw.config.agent_kinds import AGENT_SETTINGS
from voicegw.config.load import ConfigError, load
from voicegw.config.root import SECTIONS
from voicegw.security.keys import hash_secret
from voicegw.speech.spelling import cldr


def test_each_problem_is_one_line_with_the_nearest_key(file: Path) -> None:
    assert load_problems(
        file,
        f"""
        [server]
        prot = 1
        workers = 0
        [zerver]
        [keys.a]
        hash = "{HASH}"
        modles = ["x"]
        [agents.desk]
        kind = "scripted"
        scirpt = "echo"
        ack.aftr = 1
        """,
    ) == [
        "server.workers: must be greater than or equal to 1",
        'server.prot: unknown key; did you mean "port"?',
        'keys.a.modles: unknown key; did you mean "models"?',
        'agents.desk.ack.aftr: unknown key; did you mean "after"?',
        'agents.desk.scirpt: unknown key; did you mean "script"?',
        'zerver: unknown key; did you mean "server"?',
    ]


def test_unknown_key_without_a_near_one_lists_the_known_keys(file: Path) -> None:
    assert load_problems(file, f"{DESK}[trace]\nqq = 1") == [
        'trace.qq: unknown key; known are "log", "errors", "comment"'
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[server]\nport = 65536", "server.port: must be less than or equal to 65535"),
        ("[server]\nport = -1", "server.port: must be greater than or equal to 0"),
        ('[server]\nport = "80"', "server.port: must be a valid integer"),
        ("[server]\nport = true", "server.port: must be a valid integer"),
        ("[server]\nworkers = 0", "server.workers: must be greater than or equal to 1"),
        ("[server]\nshutdown_grace = nan", "server.shutdown_grace: must be a finite number"),
        ("[server]\nshutdown_grace = inf", "server.shutdown_grace: must be a finite number"),
        (
            '[server]\ntrusted_proxies = ["proxy"]',
            'server.trusted_proxies[0]: must be an address or a network such as "10.0.0.0/8"',
        ),
        (
            '[server]\norigins = ["https://a.b/"]',
            'server.origins[0]: must be an origin such as "https://app.example.com", '
            "in lower case and without a path",
        ),
        (
            '[server]\nhosts = ["box:80"]',
            "server.hosts[0]: must be a host name in lower case, without scheme or port",
        ),
        ('[server]\nhosts = "box"', "server.hosts: must be a list"),
        ("server = 1", "server: must be a table"),
        ("keys = 1", "keys: must be a table"),
        ('[limits]\nbusy = "shout"', 'limits.busy: must be "status" or "speak"'),
        ('[turns]\nunknown_model = "x"', 'turns.unknown_model: must be "default" or "reject"'),
        ('[trace]\nlog = "yes"', "trace.log: must be true or false"),
        ("[keys.a]", "keys.a: needs exactly one of hash and env"),
        (f'[keys.a]\nhash = "{HASH}"\nenv = "A"', "keys.a: needs exactly one of hash and env"),
        (
            f'[keys.a]\nhash = "{SECRET}"',
            'keys.a.hash: must be "sha256:" and 64 lower-case hex digits, '
            "as `voicegw keys new NAME` prints it",
        ),
        (
            f'[keys.a]\nenv = "{SECRET}"',
            "keys.a.env: must be the name of an environment variable, not a secret itself",
        ),
        (f'[keys.a]\nhash = "{HASH}"\nmodels = []', "keys.a.models: must not be empty"),
        (
            f'[keys.a]\nhash = "{HASH}"\ndialect = "x"',
            'keys.a.dialect: must be "voice", "elevenlabs", "vapi" or "chat"',
        ),
        (
            f'[keys."a b"]\nhash = "{HASH}"',
            'keys."a b": must be a name of up to 100 letters, digits and _ . : / @ -, '
            "beginning with a letter or digit",
        ),
        ('[agents.b]\nkind = "x"', f"agents.b.kind: must be one of {KINDS}"),
        ("[agents.b]", f"agents.b.kind: is missing; it must be one of {KINDS}"),
        ("agents.b = 1", "agents.b: must be a table"),
        ('[agents.b]\nkind = "openai"', "agents.b.url: is missing"),
        (
            '[agents."b.c"]\nkind = "openai"\nurl = "ftp://x"',
            'agents."b.c".url: must be a URL that begins with http:// or https:// and a host',
        ),
        (
            '[agents.b]\nkind = "openai"\nurl = "http://[::1"',
            "agents.b.url: must be a URL that begins with http:// or https:// and a host",
        ),
        (
            '[agents.b]\nkind = "openai"\nurl = "http://x/v1\\r\\nX-Evil: 1"',
            "agents.b.url: must be a URL that begins with http:// or https:// and a host",
        ),
        (
            f'[agents.b]\nkind = "openai"\nurl = "http://me:{SECRET}@x"',
            "agents.b.url: must not hold a user, a password, a query or a fragment; a key belongs in key_env",
        ),
        (f'{MODEL}headers = {{ "a b" = "c" }}', 'agents.m.headers."a b": must be the name of an HTTP header'),
        (f'{MODEL}headers = {{ a = "b\\n" }}', "agents.m.headers.a: must be one line of plain ASCII"),
        (f"{MODEL}fields = [1]", "agents.m.fields[0]: must be a valid string"),
        (f'[keys.a]\nhash = "{HASH}"\nmodels = [1]', "keys.a.models[0]: must be a valid string"),
        (f"{MODEL}ca_file = 1", "agents.m.ca_file: must be the path of a file"),
        ('[agents.b]\nkind = "python"\ntarget = "x"', 'agents.b.target: must be "module:name"'),
        (
            '[agents.b]\nkind = "scripted"\nlanguage = "English"',
            'agents.b.language: must be a language tag such as "en" or "pt-BR"',
        ),
        (
            '[agents.b]\nkind = "scripted"\nack.after = "soon"',
            'agents.b.ack.after: must be a number of seconds or "off"',
        ),
        (
            '[agents.b]\nkind = "scripted"\nack.after = -1',
            "agents.b.ack.after: must be greater than or equal to 0",
        ),
        (
            '[agents.b]\nkind = "scripted"\nack.phrases.en = []',
            "agents.b.ack.phrases.en: must not be empty",
        ),
        (
            '[agents.b]\nkind = "scripted"\nack.phrases.en = ["a", " "]',
            "agents.b.ack.phrases.en[1]: must not be blank",
        ),
        ('[agents.b]\nkind = "scripted"\nspeech = false', 'agents.b.speech: must be "on" or "off"'),
        ("speech = 1", "speech: must be a table"),
        ("[speech]\nmax_held_chars = 31", "speech.max_held_chars: must be greater than or equal to 32"),
        ("[speech]\nmax_held_chars = 1001", "speech.max_held_chars: must be less than or equal to 1000"),
        ("[speech]\nmax_held_chars = 40.5", "speech.max_held_chars: must be a valid integer"),
        ("[speech]\nmax_hold_seconds = 0", "speech.max_hold_seconds: must be greater than 0"),
        ("[speech]\nmax_hold_seconds = inf", "speech.max_hold_seconds: must be a finite number"),
        ('[speech]\ntables = "rows"', 'speech.tables: must be "headers" or "cells"'),
        ('[speech]\nurls = "keep"', 'speech.urls: must be "domain" or "drop"'),
        ("[speech]\nurl = 1", 'speech.url: unknown key; did you mean "urls"?'),
        ('[speech]\ncode = "Code."', "speech.code: must be a table"),
        (
            '[speech.code]\nEnglish = "x"',
            'speech.code.English: must be a language tag such as "en" or "pt-BR"',
        ),
        ("[speech.code]\nen = false", "speech.code.en: must be a valid string"),
        ('[speech]\nkeep_tags = "break"', "speech.keep_tags: must be a list"),
        (
            '[speech]\nkeep_tags = ["<break>"]',
            'speech.keep_tags[0]: must be the name of a tag such as "break", without brackets',
        ),
        (
            '[speech]\nsilent_tags = ["plan", ""]',
            'speech.silent_tags[1]: must be the name of a tag such as "break", without brackets',
        ),
        (
            '[speech]\nkeep_tags = ["a", "Plan"]\nsilent_tags = ["plan"]',
            'speech: keep_tags and silent_tags both name "plan"',
        ),
        ('[speech.words]\n" " = "x"', 'speech.words." ": must not be blank'),
        (f'[speech.words]\n{"a" * 61} = "x"', f"speech.words.{'a' * 61}: must be 60 characters or fewer"),
        ("[speech.words]\na = 1", "speech.words.a: must be a valid string"),
        *(
            (f'[server]\npublic_url = "{url}"', f"server.public_url: {URL_PROBLEM}")
            for url in (
                "voice.example.com",
                "http://voice.example.com",
                "https://",
                "https://voice.example.com/twilio",
                "https://voice.example.com?a",
                f"https://me:{SECRET}@voice.example.com",
                "https://voice.example.com:70000",
                "https://voice .example.com",
            )
        ),
        ("[limits]\nconcurrent_calls = 0", "limits.concurrent_calls: must be greater than or equal to 1"),
    ],
)
def test_invalid_value_gets_its_requirement_and_is_not_repeated(file: Path, text: str, problem: str) -> None:
    assert load_problems(file, text) == [problem]
    assert SECRET not in problem


@given(
    st.sampled_from([*SECTIONS, "keys", "agents", "other"]),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: (
            st.lists(inner, max_size=2)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "kind",
                        "ack",
                        "after",
                        "phrases",
                        "hash",
                        "url",
                        "models",
                        "port",
                        "code",
                        "words",
                        "max_held_chars",
                        "actions",
                        "attributes",
                        "agent",
                    ]
                )
                | st.text(),
                inner | st.sampled_from([*AGENT_SETTINGS, "off"]),
                max_size=4,
            )
        ),
        max_leaves=12,
    ),
)
def test_any_value_loads_or_is_a_config_error(section: str, value: Any) -> None:
    with pytest.MonkeyPatch.context() as patch, suppress(ConfigError):
        patch.setattr(tomllib, "loads", lambda _: {section: value})
        assert load(CONFIGS[0], {}).agents


def test_missing_certificate_is_named_with_its_path(file: Path) -> None:
    assert load_problems(file, f'[server]\ntls_cert = "no.pem"\n{DESK}') == [
        f"server.tls_cert: there is no file {file.parent / 'no.pem'}"
    ]


def test_certificate_without_its_key_is_refused(file: Path) -> None:
    (file.parent / "cert.pem").touch()
    assert load_problems(file, f'[server]\ntls_cert = "cert.pem"\n{DESK}') == [
        "server: tls_cert and tls_key belong together; one of them is missing"
    ]


def test_file_without_agents_gets_an_example(file: Path) -> None:
    assert load_problems(file, "") == [
        'agents: there is no agent: add a section such as [agents.desk] with kind = "scripted"'
    ]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "gateway.example.com"])
def test_public_host_without_keys_is_refused(file: Path, host: str) -> None:
    text = f'[server]\nhost = "{host}"\n{DESK}'
    assert load_problems(file, text) == [
        f"server.host: {host} can be reached from other machines; add a key first: "
        "`voicegw keys new NAME` makes one and prints the lines for this file"
    ]
    assert load_text(file, f'{text}[keys.a]\nhash = "{HASH}"').server.host == host


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_loopback_host_needs_no_keys(file: Path, host: str) -> None:
    assert load_text(file, f'[server]\nhost = "{host}"\n{DESK}').server.host == host


def test_all_origins_without_keys_are_refused(file: Path) -> None:
    text = f'[server]\norigins = ["*"]\n{DESK}'
    assert load_problems(file, text) == [
        'server.origins: "*" admits every web page; list the origins, or add a key first: '
        "`voicegw keys new NAME` makes one and prints the lines for this file"
    ]
    assert load_text(file, f'{text}[keys.a]\nhash = "{HASH}"').server.origins == ("*",)


def test_key_for_an_unknown_agent_suggests_the_nearest(file: Path) -> None:
    assert load_problems(file, f'[keys.a]\nhash = "{HASH}"\nmodels = ["desk", "dseks"]\n{DESK}') == [
        'keys.a.models: there is no agent "dseks"; did you mean "desk"?'
    ]


@pytest.mark.parametrize(
    ("environ", "problem"),
    [
        ({}, "is not set"),
        ({"A": ""}, "is empty or holds a character that no header can carry"),
        ({"A": f"{SECRET}\n"}, "is empty or holds a character that no header can carry"),
        ({"A": f"{SECRET}\r\nX-Evil: 1"}, "is empty or holds a character that no header can carry"),
        ({"A": f"{SECRET}é"}, "is empty or holds a character that no header can carry"),
    ],
)
def test_unusable_variable_is_named_without_its_value(
    file: Path, environ: dict[str, str], problem: str
) -> None:
    assert load_problems(file, f'[keys.a]\nenv = "A"\n{MODEL}key_env = "A"', environ) == [
        f"keys.a.env: the environment variable A {problem}",
        f"agents.m.key_env: the environment variable A {problem}",
    ]


def test_two_keys_with_the_same_secret_are_refused(file: Path) -> None:
    hashed = hash_secret(SECRET).hex()
    text = f'[keys.a]\nhash = "sha256:{hashed}"\n[keys.b]\nenv = "B"\n{DESK}'
    assert load_problems(file, text, {"B": SECRET}) == ["keys.b: has the same secret as keys.a"]
    assert len(load_text(file, text, {"B": SECRET + "2"}).api_keys()) == 2


def test_on_failure_status_needs_an_ack_delay(file: Path) -> None:
    text = f'[turns]\non_failure = "status"\n{DESK}'
    assert load_problems(file, text) == [
        'agents.desk.ack.after: is 0: the acknowledgement is sent at once, and turns.on_failure = "status" '
        'cannot answer after it; set another value (0.5, or "off"), or on_failure = "speak"'
    ]
    for after in ("0.5", '"off"'):
        assert load_text(file, f"{text}ack.after = {after}").turns.on_failure == "status"


def test_spelling_without_its_packages_is_refused(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cldr, "PACKAGES", ("babel", "a_package_that_is_not_installed"))
    problem = (
        "needs the package a_package_that_is_not_installed; install the extra: pip install 'voicegw[spell]'"
    )
    text = f'{DESK}\nspell = ["money"]\n[speech]\nspell = ["numbers"]'
    assert load_problems(file, text) == [f"speech.spell: {problem}", f"agents.desk.spell: {problem}"]
    file.write_text(f"{DESK}\nspell = []", "utf-8")
    assert load(file, {}).agents["desk"].spell == ()


def test_unknown_kind_of_spelling_is_refused(file: Path) -> None:
    problems = load_problems(file, f'{DESK}\n[speech]\nspell = ["digits"]')
    assert [problem.split(":")[0] for problem in problems] == ["speech.spell[0]"]
