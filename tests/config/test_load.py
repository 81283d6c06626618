"""Loading of configuration files: values, defaults, environment, and unreadable files."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path

import pytest

from tests.config.files import DESK, ENVIRON, HASH, MODEL, SECRET, load_problems, load_text
from voicegw.agents.openai.settings import OpenAISettings
from voicegw.agents.scripted.settings import ScriptedSettings
from voicegw.config.load import ConfigError, load
from voicegw.config.root import Config
from voicegw.security.keys import generate_key, hash_secret


def test_without_a_file_the_demo_serves_on_loopback_without_keys() -> None:
    config = load(environ={})
    assert config == Config.demo()
    assert (config.default_agent, config.server.host, config.keys) == ("receptionist", "127.0.0.1", {})
    assert config.agents["receptionist"] == ScriptedSettings(kind="scripted", script="receptionist")


def test_first_agent_of_the_file_is_the_default(file: Path) -> None:
    assert load_text(file, MODEL + DESK).default_agent == "m"


@pytest.mark.parametrize(("text", "name", "after"), [(DESK, "desk", 0.0), (MODEL, "m", 0.5)])
def test_default_ack_delay_is_0_for_scripted_agents_and_half_a_second_for_models(
    file: Path, text: str, name: str, after: float
) -> None:
    assert load_text(file, text).agents[name].ack.after == after


@pytest.mark.parametrize(("written", "after"), [('"off"', None), ("0", 0.0), ("1", 1.0), ("0.25", 0.25)])
def test_ack_after_is_seconds_or_off(file: Path, written: str, after: float | None) -> None:
    config = load_text(file, f"{DESK}ack.after = {written}")
    assert config.agents["desk"].ack.after == after


def test_whole_file_is_parsed(file: Path) -> None:
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
    assert config.get_secret("MODEL_API_KEY") == ENVIRON["MODEL_API_KEY"]
    [key] = config.api_keys()
    assert (key.name, key.digest, key.models) == ("one", bytes.fromhex("ab" * 32), frozenset({"m"}))
    assert (key.dialect, key.requests_per_minute) == ("vapi", 7)
    speech = config.speech
    assert (speech.max_held_chars, speech.max_hold_seconds, speech.keep_tags) == (100, 1.0, ("break",))
    assert (speech.code, speech.words) == ({"de": "Code.", "fr": ""}, {"SQL": "sequel", "ada": ""})


def test_key_from_the_environment_becomes_its_hash(file: Path) -> None:
    secret, written = generate_key()
    config = load_text(file, f'[keys.a]\nenv = "A"\n{DESK}', {"A": secret})
    [key] = config.api_keys()
    assert key.digest == hash_secret(secret) == bytes.fromhex(written.removeprefix("sha256:"))
    assert (key.models, key.dialect, key.requests_per_minute) == (None, None, None)


def test_configuration_is_frozen_and_its_repr_holds_no_secret(file: Path) -> None:
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


def test_paths_are_relative_to_the_configuration_file(file: Path) -> None:
    for name in ("cert.pem", "key.pem"):
        (file.parent / name).touch()
    config = load_text(file, f'[server]\ntls_cert = "cert.pem"\ntls_key = "key.pem"\n{DESK}')
    assert (config.server.tls_cert, config.server.tls_key) == (
        file.parent / "cert.pem",
        file.parent / "key.pem",
    )
    assert config.folder == file.parent


def test_command_line_options_override_the_file_and_are_validated(file: Path) -> None:
    file.write_text(f"[server]\nport = 1\nshutdown_grace = 2.0\n{DESK}")
    config = load(file, {}, server={"port": 9000})
    assert (config.server.port, config.server.shutdown_grace) == (9000, 2.0)
    assert load(None, {}, server={"port": 9}).server.port == 9
    assert Config.demo().server.port == 8080
    with pytest.raises(ConfigError, match=r"0\.0\.0\.0 can be reached from other machines"):
        load(None, {}, server={"host": "0.0.0.0"})


def test_syntax_error_names_its_line(file: Path) -> None:
    assert load_problems(file, "[server]\nport 8080\n") == [
        "is not TOML: Expected '=' after a key in a key/value pair (at line 2, column 6)"
    ]


def test_unreadable_file_is_a_config_error(file: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(file, {})
    assert str(caught.value) == f"{file}: cannot be read: No such file or directory"
    file.write_bytes(b"\xff")
    with pytest.raises(ConfigError) as caught:
        load(file, {})
    assert str(caught.value) == f"{file}: is not UTF-8 text"
