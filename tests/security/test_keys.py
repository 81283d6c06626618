from __future__ import annotations

import hmac
import re

import pytest

from voicegw.security import keys as guard
from voicegw.security.keys import ANONYMOUS, ApiKey, ApiKeys, digest, new_key

DESK = ApiKey("desk", digest("vgw_desk"), frozenset({"desk"}), "vapi", 10)
BOSS = ApiKey("boss", digest("vgw_boss"))


def test_a_new_key_has_32_random_bytes_and_its_hash_is_that_of_the_secret() -> None:
    secret, written = new_key()
    assert re.fullmatch(r"vgw_[A-Za-z0-9_-]{43}", secret)
    assert written == "sha256:" + digest(secret).hex()
    assert new_key()[0] != secret


def test_the_digest_is_sha256() -> None:
    assert digest("abc").hex() == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_key_does_not_show_its_digest() -> None:
    assert repr(digest("vgw_desk")) not in repr(DESK)
    assert "digest" not in repr(DESK)


def test_a_key_opens_the_agents_it_names_or_all() -> None:
    assert (DESK.allows("desk"), DESK.allows("other"), BOSS.allows("other")) == (True, False, True)
    assert ANONYMOUS.allows("desk")


def test_keys_are_found_by_their_secret() -> None:
    keys = ApiKeys([DESK, BOSS])
    assert (keys.find("vgw_desk"), keys.find("vgw_boss")) == (DESK, BOSS)
    assert keys.find("vgw_des") is keys.find("") is keys.find("\ud800") is None
    assert (len(keys), bool(keys), bool(ApiKeys())) == (2, True, False)


def test_every_key_is_compared_in_constant_time_even_after_a_match(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[bytes] = []

    def compare(known: bytes, sought: bytes) -> bool:
        compared.append(known)
        return hmac.compare_digest(known, sought)

    monkeypatch.setattr(guard, "hmac", type("Watched", (), {"compare_digest": staticmethod(compare)}))
    assert ApiKeys([DESK, BOSS]).find("vgw_desk") is DESK
    assert compared == [DESK.digest, BOSS.digest]
