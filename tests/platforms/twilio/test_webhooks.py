"""Twilio's webhooks: signatures, TwiML, and refused requests without an effect."""

from __future__ import annotations

import json
import logging
from contextlib import suppress
from typing import Any
from urllib.parse import urlencode
from xml.etree.ElementTree import Element, fromstring

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import ASGIApp
from twilio.request_validator import RequestValidator, get_signature_algorithm

from tests.platforms.webhooks import (
    GATEWAY_KEY,
    LOCAL_HOST,
    REMOTE_CLIENTS,
    REMOTE_HEADERS,
    REMOTE_HOST,
    RecordingCallServer,
    behind_middleware,
    with_scope,
)
from tests.support.asgi import RecordedResponse, send_request
from voicegw.asgi.middleware import GatewayMiddleware
from voicegw.asgi.webhook import parse_call_sid
from voicegw.calls.codec import SESSION_FAILED, TurnRequested
from voicegw.errors import BadRequest
from voicegw.events import ToolCall
from voicegw.platforms.conversation_relay.actions import RelayActions
from voicegw.platforms.conversation_relay.codec import RelayCodec
from voicegw.platforms.twilio import ticket
from voicegw.platforms.twilio.form import MAX_FORM_FIELDS, SignedForms, parse_form
from voicegw.platforms.twilio.settings import TwilioSettings
from voicegw.platforms.twilio.webhooks import (
    VoiceWebhookOptions,
    build_twilio_webhooks,
    parse_transfer_number,
)
from voicegw.security.transfer_policy import TransferPolicy
from voicegw.telemetry.turn_log import TurnLog
from voicegw.turns.phrases import PHRASES

PUBLIC, TOKEN, SHARED = "https://voice.example.com", "t0ken", "sh4red"
PATHS = ["/twilio/voice", "/twilio/action", "/twilio/transfer"]
NOW = 1_790_000_000.0
POLICY = TransferPolicy()
CALL = {
    "CallSid": "CA1",
    "AccountSid": "AC1",
    "From": "+4930123456",
    "CallerName": "Ünal & <Co>",
    "Empty": "",
}
SETTINGS = "x-twilio-webhooks-signature-settings"
SHA256 = "key=K1,algorithm=HMAC_SHA256"


def twilio(call_server: RecordingCallServer, **options: Any) -> GatewayMiddleware:
    secrets = {"public_url": PUBLIC, "auth_token": TOKEN}
    secrets |= {
        key: options.pop(key) for key in ("public_url", "auth_token", "signing_key") if key in options
    }
    webhooks = build_twilio_webhooks(
        VoiceWebhookOptions(PHRASES["en"], "en-US", SignedForms(**secrets), **options),
        call_server,
        TurnLog(),
        lambda: NOW,
    )
    return behind_middleware(webhooks)


def signature(url: str, fields: dict[str, str], token: str = TOKEN, *, settings: str | None = None) -> str:
    """Return the signature that Twilio's own library computes."""
    algorithm = get_signature_algorithm(settings)
    return str(RequestValidator(token).compute_signature(url, fields, algorithm))


async def post(
    app: ASGIApp,
    fields: dict[str, str],
    *,
    path: str = "/twilio/voice",
    sign: str | None = None,
    **headers: str,
) -> RecordedResponse:
    """Post a form as Twilio does; `sign` replaces the signature for the public address, "" for none."""
    signed = signature(PUBLIC + path, fields) if sign is None else sign
    sent = {
        "content-type": "application/x-www-form-urlencoded; charset=UTF-8",
        **REMOTE_HOST,
        **({"x-twilio-signature": signed} if signed else {}),
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    return await send_request(app, urlencode(fields).encode(), path=path, headers=sent)


def xml(response: RecordedResponse) -> Element:
    assert (response.status, response.headers["content-type"]) == (200, "text/xml; charset=utf-8")
    return fromstring(response.body)


def relay(response: RecordedResponse) -> Element:
    found = xml(response).find("Connect/ConversationRelay")
    assert found is not None
    return found


async def test_incoming_call_is_connected_to_the_websocket_with_a_ticket() -> None:
    call_server = RecordingCallServer()
    settings = TwilioSettings(greeting="Hello!", actions=("switch_language",), languages=("de-DE",))
    app = twilio(
        call_server,
        attributes=settings.relay_attributes(),
        languages=settings.declared_languages(),
        parameters={"shop": "7"},
    )
    response = await post(app, CALL)
    connect = xml(response).find("Connect")
    assert connect is not None
    assert connect.get("action") == f"{PUBLIC}/twilio/action"
    found = relay(response)
    assert (found.get("url"), found.get("welcomeGreeting")) == (
        "wss://voice.example.com/twilio/relay",
        "Hello!",
    )
    language, shop, pass_ = found
    assert (language.tag, language.get("code")) == ("Language", "de-DE")
    assert (shop.get("name"), shop.get("value")) == ("shop", "7")
    assert pass_.get("name") == ticket.PARAMETER
    assert ticket.verify(TOKEN, pass_.get("value") or "", "CA1", NOW)
    assert not ticket.verify(TOKEN, pass_.get("value") or "", "CA2", NOW)
    assert (call_server.capacity_requests, call_server.ended_calls) == (["twilio"], [])


async def test_without_capacity_the_call_gets_the_busy_phrase(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "voicegw.access")
    say, hangup = xml(await post(twilio(RecordingCallServer(is_full=True)), CALL))
    assert (say.tag, say.text, say.get("language"), hangup.tag) == (
        "Say",
        PHRASES["en"].busy,
        "en-US",
        "Hangup",
    )
    assert '"status":429' in caplog.text


TO_A_PERSON = '{"reasonCode":"transfer_call","number":"+4930123456"}'
HANG_UP = '{"reasonCode":"end_call"}'


def verbs(response: RecordedResponse) -> list[str]:
    return [verb.tag for verb in xml(response)]


def parameters(response: RecordedResponse) -> dict[str, str]:
    """Return the custom parameters of the session, without its ticket."""
    found = {child.get("name"): child.get("value") for child in relay(response) if child.tag == "Parameter"}
    return {str(name): str(value) for name, value in found.items() if name != ticket.PARAMETER}


@pytest.mark.parametrize(
    "fields",
    [
        {"SessionStatus": "ended", "HandoffData": HANG_UP},
        {"SessionStatus": "failed", "HandoffData": HANG_UP},
        {"SessionStatus": "ended"},
        {"SessionStatus": "completed", "CallStatus": "completed"},
        {"SessionStatus": "failed", "ErrorCode": "64105", "CallStatus": "completed"},
        {"SessionStatus": "ended", "HandoffData": TO_A_PERSON, "CallStatus": "completed"},
        {},
    ],
)
async def test_call_that_is_over_is_forgotten(fields: dict[str, str]) -> None:
    call_server = RecordingCallServer()
    app = twilio(call_server, transfers=POLICY)
    assert verbs(await post(app, {**CALL, **fields}, path="/twilio/action")) == []
    assert (call_server.capacity_requests, call_server.ended_calls) == ([], [("twilio", "CA1")])


async def test_transfer_dials_the_number_and_asks_how_to_go_on() -> None:
    call_server = RecordingCallServer()
    fields = {**CALL, "SessionStatus": "ended", "HandoffData": TO_A_PERSON, "CallStatus": "in-progress"}
    [dial] = xml(await post(twilio(call_server, transfers=POLICY), fields, path="/twilio/action"))
    assert (dial.tag, dial.text, dial.get("action")) == ("Dial", "+4930123456", f"{PUBLIC}/twilio/transfer")
    assert call_server.is_unused, "the call is remembered, because it may come back"


@pytest.mark.parametrize("transfers", [None, TransferPolicy(allowed=["+12127365000"])])
async def test_transfer_that_is_not_allowed_brings_the_caller_back(transfers: TransferPolicy | None) -> None:
    call_server = RecordingCallServer()
    fields = {**CALL, "SessionStatus": "ended", "HandoffData": TO_A_PERSON}
    response = await post(twilio(call_server, transfers=transfers), fields, path="/twilio/action")
    assert parameters(response) == {ticket.RESUMED_PARAMETER: "refused"}
    assert call_server.ended_calls == []


@pytest.mark.parametrize(
    "fields",
    [
        {"SessionStatus": "failed", "ErrorCode": "64105", "ErrorMessage": "WebSocket ended unexpectedly"},
        {"SessionStatus": "failed"},
        {"SessionStatus": "disconnected"},
        {"ErrorCode": "64102"},
        {"SessionStatus": "completed", "CallStatus": "in-progress"},
        {"SessionStatus": "failed", "HandoffData": "{"},
    ],
)
async def test_failed_session_is_connected_again_with_an_apology(fields: dict[str, str]) -> None:
    call_server = RecordingCallServer()
    app = twilio(
        call_server, attributes={"welcomeGreeting": "Hello!", "voice": "v"}, parameters={"shop": "7"}
    )
    response = await post(app, {**CALL, **fields}, path="/twilio/action")
    connect = xml(response).find("Connect")
    assert connect is not None
    assert connect.get("action") == f"{PUBLIC}/twilio/action?reconnected=1"
    assert relay(response).get("welcomeGreeting") == PHRASES["en"].failure
    assert relay(response).get("voice") == "v"
    assert parameters(response) == {"shop": "7", ticket.RESUMED_PARAMETER: SESSION_FAILED}
    assert call_server.ended_calls == []


@pytest.mark.parametrize(
    ("seconds", "verb"), [("59", "Say"), ("60", "Connect"), ("", "Say"), ("-70", "Say"), ("9" * 400, "Say")]
)
async def test_session_that_fails_again_at_once_ends_with_a_sentence(seconds: str, verb: str) -> None:
    call_server = RecordingCallServer()
    fields = {**CALL, "SessionStatus": "failed", "SessionDuration": seconds}
    app = with_scope(twilio(call_server), query_string=b"reconnected=1")
    sign = signature(f"{PUBLIC}/twilio/action?reconnected=1", fields)
    response = xml(await post(app, fields, path="/twilio/action", sign=sign))
    assert response[0].tag == verb
    if verb == "Say":
        assert (response[0].text, response[1].tag) == (PHRASES["en"].shutdown, "Hangup")
        assert call_server.ended_calls == [("twilio", "CA1")]


@pytest.mark.parametrize("status", ["no-answer", "busy", "failed", "canceled"])
async def test_transfer_that_nobody_answers_brings_the_caller_back(status: str) -> None:
    call_server = RecordingCallServer()
    app = twilio(call_server, attributes={"welcomeGreeting": "Hello!"})
    fields = {**CALL, "DialCallStatus": status, "CallStatus": "in-progress"}
    response = await post(app, fields, path="/twilio/transfer")
    assert parameters(response) == {ticket.RESUMED_PARAMETER: status}
    assert relay(response).get("welcomeGreeting") is None
    assert call_server.ended_calls == []


@pytest.mark.parametrize("status", [None, "", "No Answer", "x" * 50])
async def test_unknown_status_of_a_transfer_counts_as_failed(status: str | None) -> None:
    fields = {**CALL, **({} if status is None else {"DialCallStatus": status})}
    response = await post(twilio(RecordingCallServer()), fields, path="/twilio/transfer")
    assert parameters(response) == {ticket.RESUMED_PARAMETER: "failed"}


@pytest.mark.parametrize(
    "fields",
    [
        {"DialCallStatus": "completed", "CallStatus": "in-progress"},
        {"DialCallStatus": "answered"},
        {"DialCallStatus": "no-answer", "CallStatus": "completed"},
    ],
)
async def test_call_is_over_after_a_transfer(fields: dict[str, str]) -> None:
    call_server = RecordingCallServer()
    assert verbs(await post(twilio(call_server), {**CALL, **fields}, path="/twilio/transfer")) == []
    assert call_server.ended_calls == [("twilio", "CA1")]


async def test_call_that_comes_back_to_a_full_gateway_gets_the_busy_phrase() -> None:
    app = twilio(RecordingCallServer(is_full=True))
    failed = await post(app, {**CALL, "SessionStatus": "failed"}, path="/twilio/action")
    unanswered = await post(app, {**CALL, "DialCallStatus": "busy"}, path="/twilio/transfer")
    for response in (failed, unanswered):
        say, hangup = xml(response)
        assert (say.text, hangup.tag) == (PHRASES["en"].busy, "Hangup")


async def test_languages_and_backup_providers_have_their_attributes() -> None:
    settings = TwilioSettings(
        language="en-US",
        languages=("de-DE", "fr-FR"),
        language_attributes={"en-US": {"hints": "Bluebell"}, "de-DE": {"voice": "v", "code": "x"}},
        failover=({"ttsProvider": "Google"}, {"transcriptionProvider": "Deepgram"}),
    )
    app = twilio(RecordingCallServer(), languages=settings.declared_languages(), failover=settings.failover)
    children = [(child.tag, child.attrib) for child in relay(await post(app, CALL))][:-1]
    assert children == [
        ("Language", {"code": "en-US", "hints": "Bluebell"}),
        ("Language", {"code": "de-DE", "voice": "v"}),
        ("Language", {"code": "fr-FR"}),
        ("Failover", {"ttsProvider": "Google"}),
        ("Failover", {"transcriptionProvider": "Deepgram"}),
    ]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "sign",
    [
        "",
        "AAAA",
        "é",
        signature(f"{PUBLIC}/twilio/voice", CALL, "another"),
        signature(f"{PUBLIC}/twilio/other", CALL),
        signature(f"{PUBLIC}/twilio/voice?a=1", CALL),
        signature("https://127.0.0.1:8080/twilio/voice", CALL),
        signature(f"{PUBLIC}/twilio/voice", {**CALL, "From": "+1"}),
        signature(f"{PUBLIC}/twilio/voice", CALL, settings=SHA256),
    ],
)
async def test_request_without_a_valid_signature_has_no_effect(
    path: str, sign: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    call_server = RecordingCallServer()
    response = await post(twilio(call_server), CALL, path=path, sign=sign)
    assert (response.status, response.error["type"], call_server.is_unused) == (403, "permission_error", True)
    assert '"status":403' in caplog.text
    assert TOKEN not in caplog.text + response.body.decode()


async def test_api_key_is_no_signature_and_a_signature_is_no_api_key() -> None:
    call_server = RecordingCallServer()
    with_key = {"authorization": f"Bearer {GATEWAY_KEY}"}
    assert (await post(twilio(call_server), CALL, sign="", **with_key)).status == 403
    signed = signature(f"{PUBLIC}/v1/models", CALL)
    assert (await post(twilio(call_server), CALL, path="/v1/models", sign=signed)).status == 401
    assert (await post(twilio(call_server), CALL, path="/twilio/voice/", sign=signed)).status == 401
    assert call_server.is_unused


@pytest.mark.parametrize("port", ["", ":443"])
@pytest.mark.parametrize("query", ["", "shop=7&b=%C3%BC", "a"])
async def test_signature_is_for_the_public_address_with_its_query(port: str, query: str) -> None:
    url = f"{PUBLIC}{port}/twilio/voice{'?' if query else ''}{query}"
    app = with_scope(twilio(RecordingCallServer()), query_string=query.encode())
    sign = signature(url, CALL)
    assert (await post(app, CALL, sign=sign)).status == 200
    without_query = await post(app, CALL, sign=signature(f"{PUBLIC}/twilio/voice", CALL))
    assert without_query.status == (403 if query else 200)


async def test_without_a_public_url_the_host_header_is_used() -> None:
    call_server = RecordingCallServer()
    sign = signature("http://voice.example.com/twilio/voice", CALL)
    response = await post(twilio(call_server, public_url=""), CALL, sign=sign)
    assert relay(response).get("url") == "ws://voice.example.com/twilio/relay"
    other = await post(twilio(call_server, public_url=""), CALL, sign=sign, host="evil.example")
    assert other.status == 403


async def test_sha_256_signature_is_verified_with_the_signing_key() -> None:
    url, settings = f"{PUBLIC}/twilio/voice", {SETTINGS: SHA256}
    for signing_key, secret, status in (
        (SHARED, SHARED, 200),
        (SHARED, TOKEN, 403),
        ("", TOKEN, 403),
        ("", "", 403),
    ):
        app = twilio(RecordingCallServer(), signing_key=signing_key)
        sign = signature(url, CALL, secret, settings=SHA256)
        assert (await post(app, CALL, sign=sign, **settings)).status == status
    app = twilio(RecordingCallServer(), auth_token="", signing_key=SHARED)
    response = await post(app, CALL, sign=signature(url, CALL, SHARED, settings=SHA256), **settings)
    [parameter] = relay(response)
    assert ticket.verify(SHARED, parameter.get("value") or "", "CA1", NOW)
    assert (await post(app, CALL, sign=signature(url, CALL))).status == 403


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"CallSid=CA1", "application/json"),
        (b"CallSid=CA1", ""),
        (b"CallSid=CA1", "multipart/form-data; boundary=x"),
        (b"{}", "application/x-www-form-urlencoded"),
        (b"\xff\xfe", "application/x-www-form-urlencoded"),
    ],
)
async def test_body_that_is_no_form_is_refused(body: bytes, content_type: str) -> None:
    call_server = RecordingCallServer()
    headers = {"content-type": content_type, "x-twilio-signature": "AAAA"}
    response = await send_request(twilio(call_server), body, path="/twilio/voice", headers=headers)
    assert (response.status, call_server.is_unused) == (400, True)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("fields", [{"a": "b"}, {"CallSid": ""}, {"CallSid": "CA 1"}])
async def test_request_without_a_call_sid_is_refused(path: str, fields: dict[str, str]) -> None:
    call_server = RecordingCallServer()
    response = await post(twilio(call_server), fields, path=path)
    assert (response.status, call_server.is_unused) == (400, True)


async def test_body_larger_than_64_kib_is_refused() -> None:
    fields = {"CallSid": "CA1", "a": "x" * (65_536 - len("CallSid=CA1&a="))}
    assert (await post(twilio(RecordingCallServer()), fields)).status == 200
    call_server = RecordingCallServer()
    assert (await post(twilio(call_server), {**fields, "a": fields["a"] + "x"})).status == 413
    assert call_server.is_unused


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "OPTIONS"])
async def test_webhook_takes_posts_only(path: str, method: str) -> None:
    call_server = RecordingCallServer()
    status = (await send_request(twilio(call_server), path=path, method=method)).status
    assert (status, call_server.is_unused) == (405, True)


async def test_without_secrets_this_machine_may_post() -> None:
    call_server = RecordingCallServer()
    app = twilio(call_server, auth_token="", public_url="")
    response = await post(app, CALL, sign="", **LOCAL_HOST)
    assert relay(response).get("url") == "ws://127.0.0.1:8080/twilio/relay"
    assert list(relay(response)) == []  # without a secret there is no ticket
    assert (await post(app, CALL, sign="", path="/twilio/action", **LOCAL_HOST)).status == 200
    assert call_server.ended_calls == [("twilio", "CA1")]


@pytest.mark.parametrize("headers", REMOTE_HEADERS)
async def test_without_secrets_remote_requests_are_refused(headers: dict[str, str]) -> None:
    call_server = RecordingCallServer()
    app = twilio(call_server, auth_token="", public_url="")
    signed = signature("http://127.0.0.1:8080/twilio/voice", CALL, "")
    assert (await post(app, CALL, sign="", **headers)).status == 403
    assert (await post(app, CALL, sign=signed, **headers)).status == 403
    assert call_server.is_unused


@pytest.mark.parametrize("client", REMOTE_CLIENTS)
async def test_without_secrets_a_local_host_header_does_not_admit_a_remote_client(
    client: tuple[str, int] | None,
) -> None:
    call_server = RecordingCallServer()
    app = with_scope(twilio(call_server, auth_token="", public_url=""), client=client)
    assert (await post(app, CALL, sign="", **LOCAL_HOST)).status == 403
    assert call_server.is_unused


def test_secrets_are_not_in_the_representation() -> None:
    assert repr(SignedForms(auth_token=TOKEN, signing_key=SHARED)) == repr(SignedForms())


async def test_response_has_the_request_id_and_a_500_tells_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class BrokenCallServer(RecordingCallServer):
        def has_capacity(self, platform: str) -> bool:
            raise RuntimeError("private")

    response = await post(twilio(RecordingCallServer()), CALL, x_request_id="abc")
    assert response.headers["x-request-id"] == "abc"
    failed = await post(twilio(BrokenCallServer()), CALL, x_request_id="abc")
    assert (failed.status, failed.headers["x-request-id"]) == (500, "abc")
    assert "private" not in failed.body.decode()
    assert "request abc failed" in caplog.text


async def test_log_of_a_refusal_has_neither_number_nor_call(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    await post(twilio(RecordingCallServer()), CALL, sign="AAAA")
    await post(twilio(RecordingCallServer(is_full=True)), CALL)
    assert caplog.records
    for secret in (CALL["From"], "CA1", TOKEN):
        assert secret not in caplog.text


@given(st.lists(st.tuples(st.text(st.characters(codec="utf-8")), st.text(st.characters(codec="utf-8")))))
def test_form_is_parsed_as_it_was_encoded(pairs: list[tuple[str, str]]) -> None:
    if pairs:
        assert parse_form(urlencode(pairs).encode()) == pairs


@pytest.mark.parametrize(
    "body",
    [b"a", b"a=1&b", b"\xff=1", "é=1".encode(), b"a=%FF", b"{}", b"&".join([b"a=1"] * (MAX_FORM_FIELDS + 1))],
)
def test_invalid_form_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequest, match=r"^The body is not a form\.$"):
        parse_form(body)


@pytest.mark.parametrize("call", [None, 1, "", " ", "a b", "a\n", "é", "x" * 129, ["CA1"]])
def test_invalid_call_sid_is_refused(call: object) -> None:
    with pytest.raises(BadRequest, match="names no call"):
        parse_call_sid(call)


def test_valid_call_sid_is_returned_unchanged() -> None:
    assert parse_call_sid("CA1") == "CA1"
    assert parse_call_sid("x" * 128) == "x" * 128


def handoff_data(name: str, **arguments: Any) -> str:
    """Return the handoffData that the codec writes for an action of the agent."""
    turn = RelayCodec("twilio", possible=RelayActions(transfers=POLICY)).begin_turn(TurnRequested())
    turn.tool_call(ToolCall("1", name, json.dumps(arguments)))
    return str(json.loads(turn.finish("stop", None).splitlines()[-1])["handoffData"])


def test_transfer_number_of_the_codec_is_parsed() -> None:
    handoff = handoff_data("transfer_call", number="+4930123456", reason="asked")
    assert parse_transfer_number(json.loads(handoff), POLICY) == "+4930123456"
    assert parse_transfer_number(json.loads(handoff_data("end_call", reason="done")), POLICY) is None


@pytest.mark.parametrize(
    "number", [None, 4930123456, "", "911", "+4930123456;x", "+4930123456 or +12127365000", "\ud800", ["+1"]]
)
def test_other_numbers_are_not_dialed(number: object) -> None:
    assert parse_transfer_number({"reasonCode": "transfer_call", "number": number}, POLICY) is None


@pytest.mark.parametrize("handoff", ["", "hello", "[]", "1", "{", "null", "[" * 10_000, '{"reasonCode":{}}'])
async def test_any_handoff_data_gets_a_document(handoff: str) -> None:
    fields = {**CALL, "HandoffData": handoff, "CallStatus": "in-progress", "SessionStatus": "ended"}
    app = twilio(RecordingCallServer(), transfers=POLICY)
    assert len(verbs(await post(app, fields, path="/twilio/action"))) <= 1


@given(st.binary() | st.text().map(str.encode))
def test_any_body_is_parsed_or_refused(body: bytes) -> None:
    with suppress(BadRequest):
        parse_form(body)
