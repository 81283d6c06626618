from __future__ import annotations

import importlib
import json
import re
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from ipaddress import ip_network
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicegw.agents.openai.settings import OpenAISettings
from voicegw.agents.python.settings import PythonSettings
from voicegw.agents.scripted.settings import ScriptedSettings
from voicegw.config.agent_kinds import AGENT_SETTINGS
from voicegw.config.load import ConfigError, load, schema
from voicegw.config.root import SECTIONS, Config
from voicegw.events import Message, Turn
from voicegw.security.keys import generate_key, hash_secret
from voicegw.settings.agent import AgentSettings
from voicegw.settings.fields import Dialect
from voicegw.turns.dialects import DIALECTS

ROOT = Path(__file__).parents[2]
CONFIGS = sorted((ROOT / "configs").glob("*.toml"))
SECRET = "a-secret-that-no-message-may-show"
ENVIRON = {
    name: f"{SECRET}-{name}"
    for name in (
        "VOICEGW_ELEVENLABS_KEY",
        "VOICEGW_VAPI_KEY",
        "ELEVENLABS_API_KEY",
        "VOICEGW_INTERN_KEY",
        "VOICEGW_CHAT_KEY",
        "MODEL_API_KEY",
        "OPENAI_API_KEY",
        "TWILIO_AUTH_TOKEN",
        "TELNYX_TOKEN",
        "RETELL_SECRET",
        "RETELL_API_KEY",
        "HERMES_KEY",
        "ZEROCLAW_TOKEN",
        "DOCKER_AGENT_KEY",
        "OPENHANDS_KEY",
        "ANTHROPIC_API_KEY",
        "BEDROCK_KEY",
    )
}
KINDS = ", ".join(f'"{kind}"' for kind in AGENT_SETTINGS)
DESK = '[agents.desk]\nkind = "scripted"\n'
MODEL = '[agents.m]\nkind = "openai"\nurl = "http://127.0.0.1:1/v1"\n'
HASH = "sha256:" + "ab" * 32
URL_PROBLEM = 'must be an address such as "https://voice.example.com", without a path'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "voicegw.toml"


def load_problems(file: Path, text: str, environ: Mapping[str, str] | None = None) -> list[str]:
    """What is wrong with a file, without the file's name in front."""
    file.write_text(text, "utf-8")
    with pytest.raises(ConfigError) as caught:
        load(file, environ or {})
    lines = str(caught.value).split("\n")
    assert all(line.startswith(f"{file}: ") for line in lines)
    return [line.removeprefix(f"{file}: ") for line in lines]


def load_text(file: Path, text: str, environ: Mapping[str, str] | None = None) -> Config:
    file.write_text(text, "utf-8")
    return load(file, environ or {})


def test_without_a_file_the_receptionist_answers_on_loopback_without_keys() -> None:
    config = load(environ={})
    assert config == Config.demo()
    assert (config.default_agent, config.server.host, config.keys) == ("receptionist", "127.0.0.1", {})
    assert config.agents["receptionist"] == ScriptedSettings(kind="scripted", script="receptionist")


def test_the_first_agent_in_the_file_is_the_default(file: Path) -> None:
    assert load_text(file, MODEL + DESK).default_agent == "m"


@pytest.mark.parametrize(("text", "name", "after"), [(DESK, "desk", 0.0), (MODEL, "m", 0.5)])
def test_scripted_agents_acknowledge_at_once_and_models_after_half_a_second(
    file: Path, text: str, name: str, after: float
) -> None:
    assert load_text(file, text).agents[name].ack.after == after


@pytest.mark.parametrize(("written", "after"), [('"off"', None), ("0", 0.0), ("1", 1.0), ("0.25", 0.25)])
def test_ack_after_is_seconds_or_off(file: Path, written: str, after: float | None) -> None:
    config = load_text(file, f"{DESK}ack.after = {written}")
    assert config.agents["desk"].ack.after == after


def test_a_whole_file_is_read_as_it_is_written(file: Path) -> None:
    config = load_text(
        file,
        f"""
        [server]
        host = "::1"
        trusted_proxies = ["10.1.2.3/8", "::1"]
        hosts = ["box.lan"]
        shutdown_grace = 3
        [keys.one]
        hash = "{HASH}"
        models = ["m"]
        dialect = "vapi"
        requests_per_minute = 7
        {MODEL}
        key_env = "MODEL_API_KEY"
        fields = ["temperature"]
        headers = {{ X-A = "b" }}
        ack.phrases.de = ["Moment"]
        [speech]
        max_held_chars = 100
        max_hold_seconds = 1
        code = {{ de = " Code. ", fr = " " }}
        keep_tags = ["Break"]
        words = {{ SQL = "sequel", ada = "" }}
        """,
        ENVIRON,
    )
    agent = config.agents["m"]
    assert isinstance(agent, OpenAISettings)
    assert (agent.url, agent.fields, agent.headers) == (
        "http://127.0.0.1:1/v1",
        ("temperature",),
        {"X-A": "b"},
    )
    assert agent.ack.phrases == {"de": ("Moment",)}
    assert config.server.trusted_proxies == (ip_network("10.0.0.0/8"), ip_network("::1"))
    assert (config.server.hosts, config.server.shutdown_grace) == (("box.lan",), 3.0)
    assert config.secret("MODEL_API_KEY") == ENVIRON["MODEL_API_KEY"]
    [key] = config.api_keys()
    assert (key.name, key.digest, key.models) == ("one", bytes.fromhex("ab" * 32), frozenset({"m"}))
    assert (key.dialect, key.requests_per_minute) == ("vapi", 7)
    speech = config.speech
    assert (speech.max_held_chars, speech.max_hold_seconds, speech.keep_tags) == (100, 1.0, ("break",))
    assert (speech.code, speech.words) == ({"de": "Code.", "fr": ""}, {"SQL": "sequel", "ada": ""})


def test_a_key_in_the_environment_becomes_its_digest(file: Path) -> None:
    secret, written = generate_key()
    config = load_text(file, f'[keys.a]\nenv = "A"\n{DESK}', {"A": secret})
    [key] = config.api_keys()
    assert key.digest == hash_secret(secret) == bytes.fromhex(written.removeprefix("sha256:"))
    assert (key.models, key.dialect, key.requests_per_minute) == (None, None, None)


def test_the_configuration_cannot_be_changed_and_shows_no_secret(file: Path) -> None:
    config = load_text(
        file,
        f'[keys.a]\nenv = "A"\n{MODEL}key_env = "B"\nheaders = {{ X-K = "hidden" }}',
        {"A": SECRET, "B": SECRET + "2"},
    )
    with pytest.raises(ValueError, match="frozen"):
        config.server.port = 1
    assert SECRET not in repr(config)
    assert SECRET not in config.model_dump_json()
    assert "hidden" not in repr(config)


def test_files_are_found_beside_the_configuration(file: Path) -> None:
    for name in ("cert.pem", "key.pem"):
        (file.parent / name).touch()
    config = load_text(file, f'[server]\ntls_cert = "cert.pem"\ntls_key = "key.pem"\n{DESK}')
    assert (config.server.tls_cert, config.server.tls_key) == (
        file.parent / "cert.pem",
        file.parent / "key.pem",
    )
    assert config.folder == file.parent


def test_the_command_line_wins_over_the_file_and_is_checked_like_it(file: Path) -> None:
    file.write_text(f"[server]\nport = 1\nshutdown_grace = 2.0\n{DESK}")
    config = load(file, {}, server={"port": 9000})
    assert (config.server.port, config.server.shutdown_grace) == (9000, 2.0)
    assert load(None, {}, server={"port": 9}).server.port == 9
    assert Config.demo().server.port == 8080
    with pytest.raises(ConfigError, match=r"0\.0\.0\.0 can be reached by others"):
        load(None, {}, server={"host": "0.0.0.0"})


def test_every_problem_is_named_in_one_line_each_with_the_nearest_key(file: Path) -> None:
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


def test_an_unknown_key_like_no_other_lists_the_known_ones(file: Path) -> None:
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
def test_a_wrong_value_is_told_what_it_must_be_and_never_repeated(
    file: Path, text: str, problem: str
) -> None:
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
def test_whatever_is_in_a_file_it_loads_or_is_a_configuration_error(section: str, value: Any) -> None:
    with pytest.MonkeyPatch.context() as patch, suppress(ConfigError):
        patch.setattr(tomllib, "loads", lambda _: {section: value})
        assert load(CONFIGS[0], {}).agents


def test_a_file_that_is_missing_says_where(file: Path) -> None:
    assert load_problems(file, f'[server]\ntls_cert = "no.pem"\n{DESK}') == [
        f"server.tls_cert: there is no file {file.parent / 'no.pem'}"
    ]


def test_a_certificate_without_its_key_is_refused(file: Path) -> None:
    (file.parent / "cert.pem").touch()
    assert load_problems(file, f'[server]\ntls_cert = "cert.pem"\n{DESK}') == [
        "server: tls_cert and tls_key belong together; one of them is missing"
    ]


def test_a_file_without_agents_says_how_to_add_one(file: Path) -> None:
    assert load_problems(file, "") == [
        'agents: there is no agent: add a section such as [agents.desk] with kind = "scripted"'
    ]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "gateway.example.com"])
def test_without_keys_others_must_not_reach_us(file: Path, host: str) -> None:
    text = f'[server]\nhost = "{host}"\n{DESK}'
    assert load_problems(file, text) == [
        f"server.host: {host} can be reached by others; add a key first: "
        "`voicegw keys new NAME` makes one and prints the lines for this file"
    ]
    assert load_text(file, f'{text}[keys.a]\nhash = "{HASH}"').server.host == host


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_without_keys_this_machine_may_reach_us(file: Path, host: str) -> None:
    assert load_text(file, f'[server]\nhost = "{host}"\n{DESK}').server.host == host


def test_without_keys_not_every_web_page_may_call(file: Path) -> None:
    text = f'[server]\norigins = ["*"]\n{DESK}'
    assert load_problems(file, text) == [
        'server.origins: "*" lets every web page in; list the origins, or add a key first: '
        "`voicegw keys new NAME` makes one and prints the lines for this file"
    ]
    assert load_text(file, f'{text}[keys.a]\nhash = "{HASH}"').server.origins == ("*",)


def test_a_key_for_an_unknown_agent_is_refused_with_the_nearest(file: Path) -> None:
    assert load_problems(file, f'[keys.a]\nhash = "{HASH}"\nmodels = ["desk", "dseks"]\n{DESK}') == [
        'keys.a.models: there is no agent "dseks"; did you mean "desk"?'
    ]


@pytest.mark.parametrize(
    ("environ", "wrong"),
    [
        ({}, "is not set"),
        ({"A": ""}, "is empty or holds a character that no header can carry"),
        ({"A": f"{SECRET}\n"}, "is empty or holds a character that no header can carry"),
        ({"A": f"{SECRET}\r\nX-Evil: 1"}, "is empty or holds a character that no header can carry"),
        ({"A": f"{SECRET}é"}, "is empty or holds a character that no header can carry"),
    ],
)
def test_a_variable_without_a_usable_value_is_named_and_its_value_is_not(
    file: Path, environ: dict[str, str], wrong: str
) -> None:
    assert load_problems(file, f'[keys.a]\nenv = "A"\n{MODEL}key_env = "A"', environ) == [
        f"keys.a.env: the environment variable A {wrong}",
        f"agents.m.key_env: the environment variable A {wrong}",
    ]


def test_two_keys_with_one_secret_are_refused(file: Path) -> None:
    hashed = hash_secret(SECRET).hex()
    text = f'[keys.a]\nhash = "sha256:{hashed}"\n[keys.b]\nenv = "B"\n{DESK}'
    assert load_problems(file, text, {"B": SECRET}) == ["keys.b: has the same secret as keys.a"]
    assert len(load_text(file, text, {"B": SECRET + "2"}).api_keys()) == 2


def test_a_status_for_failures_needs_words_that_wait(file: Path) -> None:
    text = f'[turns]\non_failure = "status"\n{DESK}'
    assert load_problems(file, text) == [
        'agents.desk.ack.after: is 0, so the acknowledgement leaves at once and turns.on_failure = "status" comes too late: '
        'set a wait (0.5, or "off"), or on_failure = "speak"'
    ]
    for after in ("0.5", '"off"'):
        assert load_text(file, f"{text}ack.after = {after}").turns.on_failure == "status"


def test_a_syntax_error_names_its_line(file: Path) -> None:
    assert load_problems(file, "[server]\nport 8080\n") == [
        "is not TOML: Expected '=' after a key in a key/value pair (at line 2, column 6)"
    ]


def test_a_file_that_cannot_be_read_says_so(file: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(file, {})
    assert str(caught.value) == f"{file}: cannot be read: No such file or directory"
    file.write_bytes(b"\xff")
    with pytest.raises(ConfigError) as caught:
        load(file, {})
    assert str(caught.value) == f"{file}: is not UTF-8 text"


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_sample_is_ready_to_use(path: Path) -> None:
    config = load(path, ENVIRON)
    assert config.agents
    assert load(path, ENVIRON) == config


async def test_the_sample_agent_in_python_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    config = load(ROOT / "configs" / "python-agent.toml", {})
    agent = config.agents[config.default_agent]
    assert isinstance(agent, PythonSettings)
    monkeypatch.syspath_prepend(str(config.folder))
    module, _, name = agent.target.partition(":")
    reply = getattr(importlib.import_module(module), name)
    turn = Turn("1", (Message("user", "What is the day?"),))
    assert [event async for event in reply(turn, **agent.options)] == [
        "Thank you for asking. ",
        "Ask me for the time.",
    ]


def test_the_samples_are_those_that_the_documentation_names() -> None:
    text = (ROOT / "docs" / "configuration.md").read_text("utf-8")
    named = set(re.findall(r"configs/([\w-]+\.toml)", text))
    assert named == {path.name for path in CONFIGS}
    assert len(CONFIGS) >= 12


def test_the_dialects_are_those_that_exist() -> None:
    assert set(get_args(Dialect)) == set(DIALECTS)


def section_rows(table: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Default and meaning of every key of a table in the schema, tables of their own left out."""
    return {
        name: (
            json.dumps(key["default"])
            if "default" in key
            else "required"
            if name in table.get("required", ())
            else "unset",
            key["description"],
        )
        for name, key in table["properties"].items()
        if "$ref" not in key
    }


def schema_rows() -> dict[str, dict[str, tuple[str, str]]]:
    """Every key of the schema by the heading under which it is documented."""
    tables = {name: section_rows(table) for name, table in schema()["$defs"].items()}
    kinds = {name: tables[kind.__name__] for name, kind in AGENT_SETTINGS.items()}
    shared = set(section_rows(AgentSettings.model_json_schema()))
    early, late = tables["EarlyAckSettings"], tables["AckSettings"]
    after = f"{late['after'][0]}; {early['after'][0]} for scripted ones and those with sessions"
    return {
        **{f"[{name}]": tables[table.__name__] for name, table in SECTIONS.items()},
        "[keys.NAME]": tables["KeySettings"],
        "[agents.NAME]": {name: kinds["openai"][name] for name in shared},
        **{
            f'kind = "{kind}"': {
                name: row for name, row in rows.items() if name not in shared or row != kinds["openai"][name]
            }
            for kind, rows in kinds.items()
        },
        "[agents.NAME.ack]": late | {"after": (after, late["after"][1])},
    }


def documented_rows() -> dict[str, dict[str, tuple[str, str]]]:
    found: dict[str, dict[str, tuple[str, str]]] = {}
    heading = ""
    for line in (ROOT / "docs" / "configuration.md").read_text("utf-8").splitlines():
        if match := re.match(r"##+ `(.+)`$", line):
            heading = match[1]
            found[heading] = {}
        elif match := re.match(r"\| `(\w+)` \| (.+?) \| (.+) \|$", line):
            assert match[1] not in found[heading]
            found[heading][match[1]] = (match[2].replace("`", ""), match[3])
    return found


def test_the_documentation_has_every_key_with_its_default_and_no_other() -> None:
    assert documented_rows() == schema_rows()


def test_the_examples_in_the_documentation_load(file: Path) -> None:
    text = (ROOT / "docs" / "configuration.md").read_text("utf-8")
    examples = re.findall(r"```toml\n(.*?)```", text, re.S)
    assert examples
    for example in examples:
        assert load_text(file, example, ENVIRON).agents


def test_the_schema_describes_every_key_in_terms_that_toml_knows() -> None:
    assert "null" not in json.dumps(schema())
    for table in (schema(), *schema()["$defs"].values()):
        assert table["additionalProperties"] is False
        assert all("description" in key or "$ref" in key for key in table["properties"].values())


def test_every_default_in_the_schema_is_the_one_that_is_used(file: Path) -> None:
    for name in SECTIONS:
        defaults = {
            key: found["default"]
            for key, found in schema()["$defs"][SECTIONS[name].__name__]["properties"].items()
            if "default" in found
        }
        lines = "\n".join(f"{key} = {json.dumps(value)}" for key, value in defaults.items())
        assert tomllib.loads(lines) == defaults
        assert load_text(file, f"[{name}]\n{lines}\n{DESK}") == load_text(file, f"[{name}]\n{DESK}")
