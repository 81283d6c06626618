"""API keys are hashed, found in constant time, and limited to their agents."""

from __future__ import annotations

import hmac
import re

import pytest

from voicegw.security import keys
from voicegw.security.keys import ANONYMOUS, ApiKey, ApiKeys, generate_key, hash_secret

DESK = ApiKey("desk", hash_secret("vgw_desk"), frozenset({"desk"}), "vapi", 10)
BOSS = ApiKey("boss", hash_secret("vgw_boss"))


def test_new_key_has_32_random_bytes_and_the_hash_of_its_secret() -> None:
    secret, config_hash = generate_key()
    assert re.fullmatch(r"vgw_[A-Za-z0-9_-]{43}", secret)
    assert config_hash == "sha256:" + hash_secret(secret).hex()
    assert generate_key()[0] != secret


def test_hash_is_sha256() -> None:
    assert hash_secret("abc").hex() == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_key_does_not_show_its_digest() -> None:
    assert repr(hash_secret("vgw_desk")) not in repr(DESK)
    assert "digest" not in repr(DESK)


def test_key_allows_its_agents_or_all() -> None:
    assert (DESK.allows("desk"), DESK.allows("other"), BOSS.allows("other")) == (True, False, True)
    assert ANONYMOUS.allows("desk")


def test_key_is_found_by_its_secret() -> None:
    api_keys = ApiKeys([DESK, BOSS])
    assert (api_keys.find("vgw_desk"), api_keys.find("vgw_boss")) == (DESK, BOSS)
    assert api_keys.find("vgw_des") is api_keys.find("") is api_keys.find("\ud800") is None
    assert (len(api_keys), bool(api_keys), bool(ApiKeys())) == (2, True, False)


def test_every_key_is_compared_in_constant_time_even_after_a_match(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[bytes] = []

    def compare(known: bytes, other: bytes) -> bool:
        compared.append(known)
        return hmac.compare_digest(known, other)

    monkeypatch.setattr(keys, "hmac", type("Watched", (), {"compare_digest": staticmethod(compare)}))
    assert ApiKeys([DESK, BOSS]).find("vgw_desk") is DESK
    assert compared == [DESK.digest, BOSS.digest]
