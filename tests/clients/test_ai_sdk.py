"""The AI SDK by all three paths to OpenAI's APIs: tools over two steps, objects, failures, interruptions."""

from __future__ import annotations

import json
import subprocess
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from tests.clients.trip import ANSWER, FIRST_WORDS, QUESTION, ROME
from tests.e2e.server import TIMEOUT, Server, wait_until

FOLDER = Path(__file__).with_name("ai_sdk")
PROVIDERS = ("responses", "chat", "compatible")
"""The Responses API and chat completions of @ai-sdk/openai, and @ai-sdk/openai-compatible."""
UNSTORED = {"providerOptions": {"openai": {"store": False}}}
"""Options by which the AI SDK sends the items of the Responses API whole instead of as references."""
NEEDS_AI_SDK = pytest.mark.skipif(
    not (FOLDER / "node_modules").is_dir(),
    reason="the AI SDK is not installed: `make test-clients` installs it if npm is on the PATH",
)
pytestmark = [pytest.mark.wire, NEEDS_AI_SDK]


def run_client(*requests: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the reports of ai_sdk/client.mjs, which explains the fields of requests."""
    client = subprocess.run(
        ["node", "client.mjs"],
        cwd=FOLDER,
        input=json.dumps(requests),
        capture_output=True,
        text=True,
        timeout=2 * TIMEOUT,
        check=False,
    )
    assert (client.returncode, client.stderr) == (0, "")
    reports: list[dict[str, Any]] = json.loads(client.stdout)
    return reports


def ask(server: Server, **fields: list[Any]) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Ask by all providers and with all values of these fields, at the same time.

    Return each request and its report. `{provider}` in a prompt stands for the provider.
    """
    requests = [
        {"url": f"{server.url}/v1", **dict(zip(("provider", *fields), values, strict=True))}
        for values in product(PROVIDERS, *fields.values())
    ]
    for request in requests:
        request["prompt"] = request["prompt"].format(**request)
    return list(zip(requests, run_client(*requests), strict=True))


def test_tools_are_called_over_two_steps(gateway: Server) -> None:
    paris, rome = ["weather", {"city": "Paris"}], ["weather", {"city": "Rome"}]
    fields = {"model": ["trip", "remote_trip"], "streamed": [True, False], "options": [{}, UNSTORED]}
    for request, report in ask(gateway, prompt=[QUESTION], tools=[True], **fields):
        assert report["errors"] == [], request
        assert report["steps"] == [
            {"text": FIRST_WORDS, "calls": [paris, rome], "finishReason": "tool-calls"},
            {"text": "", "calls": [["book", {"city": "Rome"}]], "finishReason": "tool-calls"},
            {"text": ANSWER, "calls": [], "finishReason": "stop"},
        ], request
        assert report.get("deltas", FIRST_WORDS + ANSWER) == FIRST_WORDS + ANSWER, request
        usage = report["usage"]
        assert (usage["inputTokens"], usage["outputTokens"], usage["totalTokens"]) == (30, 12, 42), request
        assert usage["inputTokenDetails"]["cacheReadTokens"] == 6, request
        assert usage["outputTokenDetails"]["reasoningTokens"] == 3, request


def test_acknowledgement_is_in_no_history(gateway: Server) -> None:
    for request, report in ask(
        gateway, model=["slow_trip"], prompt=[QUESTION], streamed=[True], tools=[True]
    ):
        assert report["deltas"] == f"One moment. {FIRST_WORDS}{ANSWER}", request


def test_output_is_the_object(gateway: Server) -> None:
    for request, report in ask(
        gateway, model=["structured"], prompt=["Where?"], streamed=[True, False], object=[True]
    ):
        assert (report["errors"], report["object"]) == ([], ROME.model_dump()), request


def test_stored_response_stands_for_the_history(gateway: Server) -> None:
    request = {"url": f"{gateway.url}/v1", "provider": "responses", "model": "history", "streamed": True}
    [first] = run_client({**request, "prompt": "One"})
    previous = {"providerOptions": {"openai": {"previousResponseId": first["responseId"]}}}
    [second] = run_client({**request, "prompt": "Two", "options": previous})
    assert second["text"] == "user: One | assistant: user: One | user: Two"


def test_aborting_the_stream_stops_the_agent(gateway: Server) -> None:
    for request, report in ask(
        gateway, model=["waiting"], prompt=["aborted-{provider}"], streamed=[True], stop=["Well"]
    ):
        assert (report["deltas"], report["aborted"], report["errors"]) == ("Well", True, []), request
        wait_until((gateway.folder / request["prompt"]).exists)


def test_unknown_model_is_an_api_call_error(gateway: Server) -> None:
    for request, report in ask(gateway, model=["unknown"], prompt=["Hi"], streamed=[True, False]):
        [error] = report["errors"]
        assert (error["name"], error["status"]) == ("AI_APICallError", 404), request
        assert "The model 'unknown' does not exist" in error["message"], request


def test_failing_agent_is_asked_again(gateway: Server) -> None:
    """The AI SDK ignores `x-should-retry: false`."""
    statuses = {"AgentBusy": 503, "AgentError": 502}
    sample = 'voicegw_turns_total{agent="failing",outcome="failed"}'
    before = gateway.metric(sample)
    reports = ask(gateway, model=["failing"], prompt=[*statuses], options=[{"maxRetries": 1}])
    for request, report in reports:
        assert [error["status"] for error in report["errors"]] == [statuses[request["prompt"]]], request
    wait_until(lambda: gateway.metric(sample) == before + 2 * len(reports))


def test_object_that_breaks_off_is_an_error(gateway: Server) -> None:
    for request, report in ask(
        gateway, model=["breaking"], prompt=["Where?"], streamed=[True], object=[True]
    ):
        assert [error["message"] for error in report["errors"]] == ["The agent failed."], request
