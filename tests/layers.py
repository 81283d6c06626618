"""The layers of voicegw: what each folder may import, and which modules are pure.

tests/test_imports.py checks the imports against these tables. `make pytest` takes the modules of the coverage
gate from them (`python -m tests.layers` prints the files).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "voicegw"

LAYERS: Mapping[str, frozenset[str]] = {
    "events": frozenset(),
    "errors": frozenset(),
    "speech": frozenset(),
    "wire": frozenset({"events", "errors"}),
    "security": frozenset({"errors"}),
    "turns": frozenset({"events", "errors", "speech", "wire", "security"}),
    "telemetry": frozenset({"events", "errors", "wire", "security", "turns"}),
    "conversations": frozenset({"events", "errors", "wire", "security", "turns", "telemetry"}),
    "settings": frozenset({"speech", "security", "conversations"}),
    "asgi": frozenset({"errors", "wire", "security", "telemetry"}),
    "agents": frozenset({"events", "errors", "speech", "wire", "settings", "turns"}),
    "api": frozenset({"events", "errors", "wire", "security", "turns", "telemetry", "conversations", "asgi"}),
    "calls": frozenset(
        {"events", "errors", "wire", "security", "turns", "telemetry", "conversations", "asgi"}
    ),
    "platforms": frozenset(
        {
            *("events", "errors", "wire", "security", "settings", "turns", "telemetry", "conversations"),
            *("asgi", "calls"),
        }
    ),
    "simulate": frozenset({"errors", "wire", "security", "settings", "agents", "platforms"}),
    "config": frozenset({"errors", "speech", "security", "settings", "conversations", "agents", "platforms"}),
    "app": frozenset(
        {
            *("events", "errors", "speech", "wire", "security", "settings", "turns", "telemetry"),
            *("conversations", "asgi", "agents", "api", "calls", "platforms", "config"),
        }
    ),
    "commands": frozenset({"events", "errors", "settings", "agents", "config", "app"}),
    "serving": frozenset({"errors", "telemetry", "config", "app"}),
    "server": frozenset({"errors", "telemetry", "config", "app", "serving"}),
    "cli": frozenset(
        {
            *("errors", "security", "settings", "config", "app", "serving", "server", "commands", "simulate"),
            "events",
        }
    ),
}
"""From the bottom up: each folder or root module, and the others that it may import."""

NARROW: Mapping[tuple[str, str], frozenset[str]] = {
    ("settings", "speech"): frozenset({"options"}),
    ("settings", "conversations"): frozenset({"call_id"}),
    ("agents", "turns"): frozenset({"run", "timeouts", "prompts", "bulkhead", "streaming"}),
    ("simulate", "agents"): frozenset({"client"}),
    ("simulate", "platforms"): frozenset({"twilio.ticket", "elevenlabs.token"}),
    ("commands", "agents"): frozenset({"client"}),
}
"""Pairs of folders where the first may import only these modules of the second."""

SHARED: Mapping[str, frozenset[str]] = {
    "agents": frozenset(
        {
            *("client", "fallback", "model_history", "openai", "prompt_cache", "scripted", "session_pool"),
            *("finish_reasons", "session_prompt", "tool_calls"),
        }
    ),
    "platforms": frozenset({"context", "conversation_relay"}),
}
"""Integrations do not import each other: a module in these folders imports its own folder and these."""

PURE_PATTERNS = (
    "events.py",
    "errors.py",
    "speech/*.py",
    "speech/*/*.py",
    "wire/*.py",
    "security/*.py",
    "turns/*.py",
    "conversations/call_id.py",
    "conversations/history.py",
    "conversations/last_turn.py",
    "conversations/spoken_reply.py",
    "conversations/transcript.py",
    "conversations/turn_relation.py",
    "calls/action_arguments.py",
    "calls/action_results.py",
    "calls/codec.py",
    "calls/languages.py",
    "calls/call_tools.py",
    "api/chat_request.py",
    "api/chat_response.py",
    "api/response_ids.py",
    "api/responses_request.py",
    "api/responses_response.py",
    "api/stored_items.py",
    "asgi/request_slices.py",
    "asgi/upgrade_offer.py",
    "telemetry/record.py",
    "agents/model_history.py",
    "agents/session_prompt.py",
    "agents/finish_reasons.py",
    "agents/gathered_call.py",
    "agents/tool_calls.py",
    "agents/openai/answer_end.py",
    "agents/openai/call_memory.py",
    "agents/client/error_body.py",
    "agents/client/json_values.py",
    "agents/*/decoder.py",
    "agents/openai/stream_decoder.py",
    "agents/openai/text_template.py",
    "agents/*/request.py",
    "agents/*/requests.py",
    "agents/*/protocol.py",
    "agents/bedrock/eventstream.py",
    "agents/bedrock/sigv4.py",
    "agents/openhands/confirmation.py",
    "agents/openhands/streamed_text.py",
    "platforms/*/actions.py",
    "platforms/*/codec.py",
    "platforms/*/signature.py",
    "platforms/*/transcript.py",
    "platforms/*/turn.py",
    "platforms/elevenlabs/token.py",
    "platforms/realtime/events.py",
    "platforms/realtime/items.py",
    "platforms/realtime/response.py",
    "platforms/realtime/session_config.py",
    "platforms/twilio/ticket.py",
    "platforms/twilio/twiml.py",
    "commands/doctor/hints.py",
    "commands/doctor/report.py",
)
"""Pure modules know no clock, no I/O and no framework; every branch of them is tested."""
IMPURE = frozenset({"turns/run.py", "turns/speech_buffer.py", "turns/streaming.py"})
"""Exceptions from the patterns: these own tasks and timers."""


def pure_modules() -> list[Path]:
    """Return the files of all pure modules. Raises `LookupError` for one without a file."""
    found: set[Path] = set()
    for pattern in PURE_PATTERNS:
        files = {path for path in PACKAGE.glob(pattern) if path.name != "__init__.py"}
        if not files:
            raise LookupError(f"PURE_PATTERNS: {pattern} matches no module of voicegw; remove or correct it")
        found |= files
    excepted = {PACKAGE / name for name in IMPURE}
    if missing := sorted(path.name for path in excepted - found):
        raise LookupError(f"IMPURE: {', '.join(missing)} matches no pattern")
    return sorted(found - excepted)


if __name__ == "__main__":
    print(",".join(str(path.relative_to(ROOT)) for path in pure_modules()))
