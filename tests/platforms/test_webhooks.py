"""Web hooks: who is believed, what is answered, and that nothing happens for anybody else."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
from typing import Any
from urllib.parse import urlencode
from xml.etree.ElementTree import Element, fromstring

import pytest
from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send
from twilio.request_validator import RequestValidator, get_signature_algorithm

from tests.support.asgi import Answer, drive
from voicegw.asgi.middleware import GatewayMiddleware
from voicegw.platforms.retell.webhook import retell_webhooks
from voicegw.platforms.twilio import ticket
from voicegw.platforms.twilio.settings import TwilioSettings
from voicegw.platforms.twilio.webhooks import VoiceWebhookOptions, twilio_webhooks
from voicegw.security.authenticator import Authenticator
from voicegw.security.keys import ApiKey, ApiKeys, digest
from voicegw.telemetry.turn_log import TurnLog

PUBLIC, TOKEN, SHARED, API_KEY = "https://voice.example.com", "t0ken", "sh4red", "key_1"
NOW = 1_790_000_000.0
CALL = {
    "CallSid": "CA1",
    "AccountSid": "AC1",
    "From": "+4930123456",
    "CallerName": "Ünal & <Co>",
    "Empty": "",
}
BUSY = "Sorry, we are very busy right now."
SETTINGS = "x-twilio-webhooks-signature-settings"
SHA256 = "key=K1,algorithm=HMAC_SHA256"
OUTSIDE = {"host": "voice.example.com"}


class Floor:
    """A floor that notes what it is told."""

    def __init__(self, *, full: bool = False) -> None:
        self.full = full
        self.asked: list[str] = []
        self.over: list[tuple[str, str]] = []

    def has_room(self, platform: str) -> bool:
        self.asked.append(platform)
        return not self.full

    def call_ended(self, platform: str, call: str) -> None:
        self.over.append((platform, call))

    @property
    def untouched(self) -> bool:
        return not self.asked and not self.over


def house(hooks: dict[str, ASGIApp]) -> GatewayMiddleware:
    """The hooks behind the entrance of a house with keys, as they are in the real one."""
    door = Authenticator(ApiKeys([ApiKey("shop", digest("vgw_secret"))]))
    return GatewayMiddleware(FastAPI(), door, TurnLog(), (), {}, hooks)


def twilio(floor: Floor, **welcome: Any) -> GatewayMiddleware:
    settings = {"public_url": PUBLIC, "token": TOKEN, **welcome}
    return house(
        twilio_webhooks(VoiceWebhookOptions(BUSY, "en-US", **settings), floor, TurnLog(), lambda: NOW)
    )


def retell(floor: Floor, key: str = API_KEY) -> GatewayMiddleware:
    return house(retell_webhooks(key, floor, TurnLog(), lambda: NOW))


def changed(app: ASGIApp, **parts: Any) -> ASGIApp:
    """The same for requests that differ in these parts of their scope."""

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, **parts}, receive, send)

    return wrapped


def signature(url: str, fields: dict[str, str], token: str = TOKEN, *, settings: str | None = None) -> str:
    """As Twilio's own library makes it."""
    algorithm = get_signature_algorithm(settings)
    return str(RequestValidator(token).compute_signature(url, fields, algorithm))


async def post(
    app: ASGIApp,
    fields: dict[str, str],
    *,
    path: str = "/twilio/voice",
    sign: str | None = None,
    **headers: str,
) -> Answer:
    """A form as Twilio posts it, signed for our public address unless told otherwise."""
    signed = signature(PUBLIC + path, fields) if sign is None else sign
    sent = {
        "content-type": "application/x-www-form-urlencoded; charset=UTF-8",
        **OUTSIDE,
        **({"x-twilio-signature": signed} if signed else {}),
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    return await drive(app, urlencode(fields).encode(), path=path, headers=sent)


async def tell(
    app: ASGIApp, event: Any, *, at: float = NOW, key: str = API_KEY, sign: str | None = None, **headers: str
) -> Answer:
    """An event as Retell posts it."""
    body = event if isinstance(event, bytes) else json.dumps(event).encode()
    stamp = int(at * 1000)
    seal = hmac.new(key.encode(), body + str(stamp).encode(), hashlib.sha256).hexdigest()
    signed = f"v={stamp},d={seal}" if sign is None else sign
    sent = {
        **OUTSIDE,
        **({"x-retell-signature": signed} if signed else {}),
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    return await drive(app, body, path="/retell/webhook", headers=sent)


def xml(answer: Answer) -> Element:
    assert (answer.status, answer.headers["content-type"]) == (200, "text/xml; charset=utf-8")
    return fromstring(answer.body)


def relay(answer: Answer) -> Element:
    found = xml(answer).find("Connect/ConversationRelay")
    assert found is not None
    return found


async def test_a_call_is_connected_to_our_socket_with_a_ticket() -> None:
    floor = Floor()
    table = TwilioSettings(greeting="Hello!", actions=("switch_language",), languages=("de-DE",))
    app = twilio(floor, attributes=table.relay(), languages=table.languages, parameters={"shop": "7"})
    answer = await post(app, CALL)
    connect = xml(answer).find("Connect")
    assert connect is not None
    assert connect.get("action") == f"{PUBLIC}/twilio/action"
    found = relay(answer)
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
    assert (floor.asked, floor.over) == (["twilio"], [])


async def test_without_room_the_caller_is_told_so(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "voicegw.access")
    said, hangup = xml(await post(twilio(Floor(full=True)), CALL))
    assert (said.tag, said.text, said.get("language"), hangup.tag) == ("Say", BUSY, "en-US", "Hangup")
    assert '"status":429' in caplog.text


@pytest.mark.parametrize(
    ("handoff", "transfers", "number"),
    [
        (None, True, None),
        ('{"reasonCode":"transfer_call","number":"+4930123456"}', True, "+4930123456"),
        ('{"reasonCode":"transfer_call","number":"+4930123456"}', False, None),
        ('{"reasonCode":"transfer_call","number":"0900"}', True, None),
        ('{"reasonCode":"end_call"}', True, None),
        ("{", True, None),
    ],
)
async def test_after_the_session_the_call_ends_or_is_put_through(
    handoff: str | None, transfers: bool, number: str | None
) -> None:
    floor = Floor()
    fields = {**CALL, "SessionStatus": "ended", **({} if handoff is None else {"HandoffData": handoff})}
    answer = xml(await post(twilio(floor, transfers=transfers), fields, path="/twilio/action"))
    assert [(verb.tag, verb.text) for verb in answer] == ([] if number is None else [("Dial", number)])
    assert (floor.asked, floor.over) == ([], [("twilio", "CA1")])


@pytest.mark.parametrize("path", ["/twilio/voice", "/twilio/action"])
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
async def test_without_twilio_s_signature_nothing_happens(
    path: str, sign: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    floor = Floor()
    answer = await post(twilio(floor), CALL, path=path, sign=sign)
    assert (answer.status, answer.error["type"], floor.untouched) == (403, "permission_error", True)
    assert '"status":403' in caplog.text
    assert TOKEN not in caplog.text + answer.body.decode()


async def test_a_key_of_the_house_is_no_signature_and_a_signature_no_key() -> None:
    floor = Floor()
    keyed = {"authorization": "Bearer vgw_secret"}
    assert (await post(twilio(floor), CALL, sign="", **keyed)).status == 403
    signed = signature(f"{PUBLIC}/v1/models", CALL)
    assert (await post(twilio(floor), CALL, path="/v1/models", sign=signed)).status == 401
    assert (await post(twilio(floor), CALL, path="/twilio/voice/", sign=signed)).status == 401
    assert floor.untouched


@pytest.mark.parametrize("port", ["", ":443"])
@pytest.mark.parametrize("query", ["", "shop=7&b=%C3%BC", "a"])
async def test_a_signature_is_for_the_public_address_with_its_query(port: str, query: str) -> None:
    url = f"{PUBLIC}{port}/twilio/voice{'?' if query else ''}{query}"
    app = changed(twilio(Floor()), query_string=query.encode())
    sign = signature(url, CALL)
    assert (await post(app, CALL, sign=sign)).status == 200
    bare = await post(app, CALL, sign=signature(f"{PUBLIC}/twilio/voice", CALL))
    assert bare.status == (403 if query else 200)


async def test_without_a_public_address_the_request_s_own_is_used() -> None:
    floor = Floor()
    sign = signature("http://voice.example.com/twilio/voice", CALL)
    answer = await post(twilio(floor, public_url=""), CALL, sign=sign)
    assert relay(answer).get("url") == "ws://voice.example.com/twilio/relay"
    other = await post(twilio(floor, public_url=""), CALL, sign=sign, host="evil.example")
    assert other.status == 403


async def test_signatures_with_sha_256_are_made_with_the_shared_key() -> None:
    url, settings = f"{PUBLIC}/twilio/voice", {SETTINGS: SHA256}
    for signing_key, secret, status in (
        (SHARED, SHARED, 200),
        (SHARED, TOKEN, 403),
        ("", TOKEN, 403),
        ("", "", 403),
    ):
        app = twilio(Floor(), signing_key=signing_key)
        sign = signature(url, CALL, secret, settings=SHA256)
        assert (await post(app, CALL, sign=sign, **settings)).status == status
    app = twilio(Floor(), token="", signing_key=SHARED)
    answer = await post(app, CALL, sign=signature(url, CALL, SHARED, settings=SHA256), **settings)
    [shown] = relay(answer)
    assert ticket.verify(SHARED, shown.get("value") or "", "CA1", NOW)
    assert (await post(app, CALL, sign=signature(url, CALL))).status == 403


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"CallSid=CA1", "application/json"),
        (b"CallSid=CA1", ""),
        (b"CallSid=CA1", "multipart/form-data; boundary=x"),
        (b"{}", "application/x-www-form-urlencoded"),
        (b"\xff\xfe", "application/x-www-form-urlencoded"),
    ],
)
async def test_what_is_no_form_is_refused(body: bytes, kind: str) -> None:
    floor = Floor()
    headers = {"content-type": kind, "x-twilio-signature": "AAAA"}
    answer = await drive(twilio(floor), body, path="/twilio/voice", headers=headers)
    assert (answer.status, floor.untouched) == (400, True)


@pytest.mark.parametrize("path", ["/twilio/voice", "/twilio/action"])
@pytest.mark.parametrize("fields", [{"a": "b"}, {"CallSid": ""}, {"CallSid": "CA 1"}])
async def test_a_request_that_names_no_call_is_refused(path: str, fields: dict[str, str]) -> None:
    floor = Floor()
    answer = await post(twilio(floor), fields, path=path)
    assert (answer.status, floor.untouched) == (400, True)


async def test_64_kib_are_enough() -> None:
    fields = {"CallSid": "CA1", "a": "x" * (65_536 - len("CallSid=CA1&a="))}
    assert (await post(twilio(Floor()), fields)).status == 200
    floor = Floor()
    assert (await post(twilio(floor), {**fields, "a": fields["a"] + "x"})).status == 413
    event = {"event": "call_ended", "call": {"call_id": "c1"}, "x": "x" * 65_536}
    assert (await tell(retell(floor), event)).status == 413
    assert floor.untouched


@pytest.mark.parametrize("path", ["/twilio/voice", "/twilio/action", "/retell/webhook"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "OPTIONS"])
async def test_a_web_hook_is_posted(path: str, method: str) -> None:
    floor = Floor()
    app = house(
        {
            **twilio_webhooks(VoiceWebhookOptions(BUSY, "en", token=TOKEN), floor, TurnLog()),
            **retell_webhooks(API_KEY, floor, TurnLog()),
        }
    )
    assert ((await drive(app, path=path, method=method)).status, floor.untouched) == (405, True)


LOCAL = {"host": "127.0.0.1:8080"}


async def test_without_secrets_this_machine_may_try_it() -> None:
    floor = Floor()
    app = twilio(floor, token="", public_url="")
    answer = await post(app, CALL, sign="", **LOCAL)
    assert relay(answer).get("url") == "ws://127.0.0.1:8080/twilio/relay"
    assert list(relay(answer)) == []  # nothing to prove, so no ticket either
    assert (await post(app, CALL, sign="", path="/twilio/action", **LOCAL)).status == 200
    event = {"event": "call_ended", "call": {"call_id": "c1"}}
    assert (await tell(retell(floor, ""), event, sign="", **LOCAL)).status == 204
    assert floor.over == [("twilio", "CA1"), ("retell", "c1")]


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "voice.example.com"},
        {"host": "localhost.evil.example"},
        {**LOCAL, "x_forwarded_for": "192.0.2.1"},
        {**LOCAL, "forwarded": "for=192.0.2.1"},
        {**LOCAL, "origin": "https://evil.example"},
    ],
)
async def test_without_secrets_nobody_else_may(headers: dict[str, str]) -> None:
    floor = Floor()
    app = twilio(floor, token="", public_url="")
    event = {"event": "call_ended", "call": {"call_id": "c1"}}
    signed = signature("http://127.0.0.1:8080/twilio/voice", CALL, "")
    assert (await post(app, CALL, sign="", **headers)).status == 403
    assert (await post(app, CALL, sign=signed, **headers)).status == 403
    assert (await tell(retell(floor, ""), event, sign="", **headers)).status == 403
    assert (await tell(retell(floor, ""), event, key="", **headers)).status == 403
    assert floor.untouched


@pytest.mark.parametrize("client", [("192.0.2.1", 5), ("::ffff:192.0.2.1", 5), ("", 0), None])
async def test_a_local_name_does_not_make_a_stranger_local(client: tuple[str, int] | None) -> None:
    floor = Floor()
    app = changed(twilio(floor, token="", public_url=""), client=client)
    assert (await post(app, CALL, sign="", **LOCAL)).status == 403
    event = {"event": "call_ended", "call": {"call_id": "c1"}}
    assert (await tell(changed(retell(floor, ""), client=client), event, sign="", **LOCAL)).status == 403
    assert floor.untouched


def test_secrets_are_not_shown() -> None:
    assert repr(VoiceWebhookOptions(BUSY, "en", token=TOKEN, signing_key=SHARED)) == repr(
        VoiceWebhookOptions(BUSY, "en")
    )


@pytest.mark.parametrize("event", ["call_ended", "call_analyzed"])
async def test_retell_tells_which_call_is_over(event: str) -> None:
    floor = Floor()
    answer = await tell(retell(floor), {"event": event, "call": {"call_id": "c1"}})
    assert (answer.status, answer.body, floor.over) == (204, b"", [("retell", "c1")])


async def test_other_events_of_retell_s_are_taken_and_forgotten() -> None:
    floor = Floor()
    answer = await tell(retell(floor), {"event": "call_started", "call": {"call_id": "c1"}})
    assert (answer.status, floor.untouched) == (204, True)


@pytest.mark.parametrize(
    ("how", "status"),
    [
        ({"at": NOW - 299}, 204),
        ({"at": NOW - 301}, 403),
        ({"at": NOW + 301}, 403),
        ({"key": "another"}, 403),
        ({"sign": ""}, 403),
        ({"sign": "v=1,d=00"}, 403),
        ({"sign": "é"}, 403),
    ],
)
async def test_retell_s_signature_must_be_right_and_fresh(
    how: dict[str, Any], status: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    floor = Floor()
    answer = await tell(retell(floor), {"event": "call_ended", "call": {"call_id": "c1"}}, **how)
    assert (answer.status, floor.untouched) == (status, status == 403)
    assert API_KEY not in caplog.text


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"event":"call_ended"}'])
async def test_retell_s_garbage_is_refused(body: bytes) -> None:
    floor = Floor()
    assert ((await tell(retell(floor), body)).status, floor.untouched) == (400, True)
    event = {"event": "call_ended", "call": {"call_id": "c1"}}
    assert (await tell(retell(floor), event, content_type="text/plain")).status == 400
    assert floor.untouched


async def test_answers_carry_the_request_s_id_and_failures_of_ours_say_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Broken(Floor):
        def has_room(self, platform: str) -> bool:
            raise RuntimeError("private")

    answer = await post(twilio(Floor()), CALL, x_request_id="abc")
    assert answer.headers["x-request-id"] == "abc"
    failed = await post(twilio(Broken()), CALL, x_request_id="abc")
    assert (failed.status, failed.headers["x-request-id"]) == (500, "abc")
    assert "private" not in failed.body.decode()
    assert "request abc failed" in caplog.text


async def test_a_refusal_logs_neither_number_nor_call(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    await post(twilio(Floor()), CALL, sign="AAAA")
    await post(twilio(Floor(full=True)), CALL)
    assert caplog.records
    for secret in (CALL["From"], "CA1", TOKEN):
        assert secret not in caplog.text
