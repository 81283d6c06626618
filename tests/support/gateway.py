"""Gateways around fake agents, in this process and on the clock of the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from starlette.types import ASGIApp, Scope

from tests.support.asgi import RecordedResponse, send_request
from tests.support.fake_agent import FakeAgent
from voicegw.app.create import create_app
from voicegw.calls.codec import CallCodec
from voicegw.calls.endpoint import CallEndpoint
from voicegw.calls.profile import CallProfile
from voicegw.calls.server import CallServer
from voicegw.config.load import Config
from voicegw.conversations.agent_registry import AgentRegistry
from voicegw.conversations.dispatcher import Dispatcher
from voicegw.conversations.engine import TurnEngine
from voicegw.errors import Forbidden
from voicegw.platforms.conversation_relay.actions import RelayActions
from voicegw.platforms.conversation_relay.codec import RelayCodec
from voicegw.platforms.retell.codec import RetellCodec
from voicegw.security.keys import ApiKey
from voicegw.security.rate_limits import RateLimiter
from voicegw.security.transfer_policy import TransferPolicy
from voicegw.speech.options import SpeechOptions
from voicegw.telemetry.turn_log import TurnLog
from voicegw.turns.acknowledgement import AckPolicy
from voicegw.turns.dialects import DIALECTS
from voicegw.turns.served_agent import ServedAgent
from voicegw.turns.speech_buffer import SpeechFilters
from voicegw.turns.timeouts import Timeouts

CHAT_REQUEST: dict[str, Any] = {"stream": True, "messages": [{"role": "user", "content": "Hello?"}]}


def loop_time() -> float:
    return asyncio.get_running_loop().time()


def make_config(*, agent_section: Mapping[str, Any] | None = None, **sections: Any) -> Config:
    """Return a configuration with one agent, "desk", with these keys, and with `sections`."""
    agents = {"desk": {"kind": "scripted", **(agent_section or {})}}
    return Config.model_validate({"agents": agents, **sections})


def create_gateway(agent: FakeAgent, **sections: Any) -> ASGIApp:
    """Return the real application; `agent` answers for every agent of its configuration (`make_config`)."""
    return create_app(make_config(**sections), now=loop_time, agents=lambda settings, config: agent)


async def send_turn(app: ASGIApp, body: dict[str, Any] | None = None, **options: Any) -> RecordedResponse:
    """Send one turn; `body` replaces or adds fields of a plain streaming question."""
    return await send_request(app, {**CHAT_REQUEST, **(body or {})}, **options)


def make_call_server(
    agent: FakeAgent,
    *,
    max_turns: int = 100,
    max_calls: int = 500,
    max_platform_calls: int | None = None,
    ack: AckPolicy | None = None,
    **profile: Any,
) -> tuple[CallServer, Dispatcher]:
    """Return a server of Twilio's, Telnyx's and Retell's calls, and its dispatcher.

    `profile` goes to `CallProfile`.
    """
    served_agent = ServedAgent(
        "desk",
        agent,
        DIALECTS["voice"],
        AckPolicy(0.0) if ack is None else ack,
        timeouts=Timeouts(5.0),
        speech_filters=SpeechFilters(SpeechOptions(), {}),
    )
    dispatcher = Dispatcher(AgentRegistry({"desk": served_agent}), now=loop_time)

    def endpoint(
        name: str, call_in_path: bool, codec: Callable[[str | None, CallProfile], CallCodec]
    ) -> CallEndpoint:
        def authenticate(scope: Scope) -> str | None:
            if "wrong" in scope["path"]:
                raise Forbidden("No.")
            return scope["path"].rpartition("/")[2] if call_in_path else None

        call_profile = CallProfile(ApiKey(name, b""), served_agent, **profile)
        is_genuine = lambda started: started.call_id != "CAfalse"  # noqa: E731
        return CallEndpoint(name, call_profile, authenticate, codec, is_genuine, max_platform_calls)

    def make_twilio_codec(profile: CallProfile) -> RelayCodec:
        return RelayCodec(
            "twilio",
            resumed_parameter="voicegw-resumed",
            tags_language=profile.speaks_callers_language,
            possible=RelayActions(profile.languages, TransferPolicy()),
        )

    endpoints = {
        "twilio": endpoint("twilio", False, lambda call, profile: make_twilio_codec(profile)),
        "telnyx": endpoint("telnyx", False, lambda call, profile: RelayCodec("telnyx")),
        "retell": endpoint(
            "retell", True, lambda call, profile: RetellCodec(call or "", transfers=TransferPolicy())
        ),
    }
    engine = TurnEngine(dispatcher, RateLimiter(max_turns), TurnLog())
    return CallServer(engine, endpoints, max_calls=max_calls), dispatcher
