"""Handshakes with a secret in their path, as Telnyx and Retell make them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.platforms.handshakes import REMOTE_CLIENTS, REMOTE_HEADERS, handshake_scope, refusal
from voicegw.calls.path_secret import PathSecretAuth
from voicegw.errors import Forbidden, NotFound

SECRET = "0123456789abcdef"


@pytest.mark.parametrize("id", ["call_1", "0" * 128, "a-B_9"])
@pytest.mark.parametrize("tail", ["", "/"])
def test_path_names_the_call(id: str, tail: str) -> None:
    auth = PathSecretAuth(True, SECRET)
    assert auth(handshake_scope(f"/retell/{SECRET}/{id}{tail}", **REMOTE_HEADERS)) == id
    assert PathSecretAuth(True)(handshake_scope(f"/retell/{id}{tail}")) == id


def test_path_ends_with_relay_if_it_does_not_name_the_call() -> None:
    auth = PathSecretAuth(False, SECRET)
    assert auth(handshake_scope(f"/telnyx/{SECRET}/relay", **REMOTE_HEADERS)) is None
    assert PathSecretAuth(False)(handshake_scope("/telnyx/relay")) is None
    assert refusal(auth, handshake_scope(f"/telnyx/{SECRET}/call_1")) is NotFound


@pytest.mark.parametrize("path_names_call", [True, False])
@pytest.mark.parametrize(
    "path", ["", "/", "//relay", "/relay", "/wrong/relay", "/é\udce9/relay", f"/{SECRET}0/relay"]
)
def test_path_without_the_secret_is_refused_also_from_this_machine(path_names_call: bool, path: str) -> None:
    scope = {**handshake_scope("/x"), "path": f"/platform{path}"}
    with pytest.raises(Forbidden):
        PathSecretAuth(path_names_call, SECRET)(scope)


@pytest.mark.parametrize("path", ["", "/", "//", "/a/b", "/a.b", "/a b", "/é", "/" + "0" * 129])
def test_path_without_a_valid_call_id_is_not_found(path: str) -> None:
    for auth, start in (
        (PathSecretAuth(True, SECRET), f"/retell/{SECRET}"),
        (PathSecretAuth(False, SECRET), f"/telnyx/{SECRET}"),
        (PathSecretAuth(True), "/retell"),
        (PathSecretAuth(False), "/telnyx"),
    ):
        with pytest.raises(NotFound):
            auth({**handshake_scope("/x"), "path": start + path})


@pytest.mark.parametrize("remote", REMOTE_CLIENTS)
@pytest.mark.parametrize(
    ("auth", "path"), [(PathSecretAuth(False), "/telnyx/relay"), (PathSecretAuth(True), "/retell/relay")]
)
def test_without_a_secret_only_this_machine_may_connect(
    auth: PathSecretAuth, path: str, remote: dict[str, Any]
) -> None:
    auth(handshake_scope(path))
    with pytest.raises(Forbidden):
        auth(handshake_scope(path, **remote))


def test_secret_is_not_in_the_representation() -> None:
    assert SECRET not in repr(PathSecretAuth(True, SECRET))
