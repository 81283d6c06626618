"""Signatures of requests to AWS, compared with known ones and with botocore."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicegw.agents.bedrock.sigv4 import Credentials, Signer

SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
STAMP = "20260102T030405Z"
HOST = "bedrock-runtime.us-east-1.amazonaws.com"
PATH = "/model/anthropic.claude-3-haiku-20240307-v1%3A0/converse-stream"
BODY = b'{"messages":[{"role":"user","content":[{"text":"hi"}]}]}'
HEADERS = {"content-type": "application/json", "host": HOST}


def sign(
    token: str | None = None,
    path: str = PATH,
    headers: Mapping[str, str] = HEADERS,
    body: bytes = BODY,
    method: str = "POST",
) -> dict[str, str]:
    signer = Signer(Credentials("AKIDEXAMPLE", SECRET, token), "us-east-1", "bedrock")
    return signer.sign(STAMP, method, path, headers, body)


def test_known_signature() -> None:
    assert sign() == {
        "x-amz-date": STAMP,
        "authorization": "AWS4-HMAC-SHA256 "
        "Credential=AKIDEXAMPLE/20260102/us-east-1/bedrock/aws4_request, "
        "SignedHeaders=content-type;host;x-amz-date, "
        "Signature=dca7d916846a433d15135bcc882264ba5e0f42c6133c2dad1b842cada95e1b21",
    }


def test_session_token_is_sent_and_signed() -> None:
    signed = sign("TOKEN")
    assert signed["x-amz-security-token"] == "TOKEN"
    assert "SignedHeaders=content-type;host;x-amz-date;x-amz-security-token, " in signed["authorization"]
    assert signed["authorization"].endswith(
        "Signature=cb9a711b9b72bd8ee5a5a2ac1da39ef286252494d695551d6eb65a2698c307db"
    )


def test_case_and_blanks_of_headers_make_no_difference() -> None:
    assert sign(headers={"Host": f" {HOST}  ", "Content-Type": "application/json"}) == sign()


@pytest.mark.parametrize("changed", [{"path": "/model/x"}, {"body": b"{}"}, {"method": "PUT"}])
def test_every_change_of_a_request_changes_the_signature(changed: dict[str, Any]) -> None:
    assert sign(**changed)["authorization"] != sign()["authorization"]


def test_secrets_are_not_in_the_repr() -> None:
    shown = repr(Signer(Credentials("AKIDEXAMPLE", SECRET, "TOKEN"), "us-east-1", "bedrock"))
    assert "AKIDEXAMPLE" in shown
    assert not re.search(f"{re.escape(SECRET)}|TOKEN", shown)


# Compared with botocore


def by_botocore(
    monkeypatch: pytest.MonkeyPatch, token: str | None, path: str, headers: Mapping[str, str], body: bytes
) -> dict[str, str]:
    auth: Any = pytest.importorskip("botocore.auth")
    from datetime import UTC, datetime

    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials as Known

    now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    monkeypatch.setattr(auth, "get_current_datetime", lambda *_, **__: now)
    url = f"https://{headers['host']}{path}"
    request = AWSRequest("POST", url, headers=dict(headers), data=body)
    auth.SigV4Auth(Known("AKIDEXAMPLE", SECRET, token), "bedrock", "us-east-1").add_auth(request)
    return {name.lower(): value for name, value in request.headers.items() if name.lower() not in headers}


@pytest.mark.parametrize("token", [None, "a/token+with=signs"])
@pytest.mark.parametrize(
    "path",
    [
        PATH,
        "/",
        "/behind/a/proxy/model/m/converse-stream",
        "/model/arn%3Aaws%3Abedrock%3Aeu-west-1%3A123456789012%3Ainference-profile%2Fx/converse-stream",
    ],
)
@pytest.mark.parametrize("body", [b"", BODY, "Wörter".encode()])
def test_botocore_signs_the_same(
    monkeypatch: pytest.MonkeyPatch, token: str | None, path: str, body: bytes
) -> None:
    headers = {**HEADERS, "x-more": "  a   b "}
    assert sign(token, path, headers, body) == by_botocore(monkeypatch, token, path, headers, body)


@given(st.text(min_size=1, max_size=30).filter(lambda model: model not in (".", "..")), st.binary())
def test_botocore_signs_every_model_and_body_the_same(model: str, body: bytes) -> None:
    path = f"/model/{quote(model.encode('utf-8', 'replace'), safe='')}/converse-stream"
    with pytest.MonkeyPatch.context() as patch:
        assert sign(None, path, HEADERS, body) == by_botocore(patch, None, path, HEADERS, body)
