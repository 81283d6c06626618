"""Experiments with agents that refuse, stall, dribble, cut, lie, or do not stop."""

from __future__ import annotations

import asyncio

from loadtests.chaos.agent import ANSWER_HEAD, PreparedAgent, content_event, encode_answer
from loadtests.chaos.callers import ask, find_flaw
from loadtests.chaos.lab import Lab, during, experiment

FAULTY_CALLERS = 8
"""Turns that the faulty agent gets at a time."""
UPSTREAM_FAULTS = {
    "refuse": "agent refuses (503)",
    "silent": "agent stalls before its first byte",
    "stall": "agent stalls in the middle",
    "cut": "agent cuts its stream",
    "garble": "agent sends an event that is not JSON",
}
"""The faults of `loadtests.servers.upstream`, with the names of their experiments."""
TIMEOUTS = "first_token = 0.5\nidle = 0.5\nack.after = 0\n"
PATIENCE = "first_token = 5\nidle = 5\nack.after = 0\n"
"""Timeouts that end a stalled agent soon, and timeouts for one that is only slow."""
SECRET = b"card-4111-token"
"""Words of an agent's server that must not reach the log."""
STUBBORN = """
import asyncio

async def stubborn(turn):
    yield "begun "
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            pass
"""


@experiment("none, for comparison")
async def run_without_fault(lab: Lab) -> None:
    async with lab.gateway(lab.config()) as gateway, lab.innocents(gateway):
        await during(2)


async def run_faulty(lab: Lab, section: str, *, must_hear: bytes = b"") -> None:
    """Ask the agent "faulty" of this section in a row of turns; each must end in words."""
    async with lab.gateway(lab.config(section)) as gateway, lab.innocents(gateway):
        turns = [f"faulty {number} of {lab.counts.name}" for number in range(FAULTY_CALLERS)]
        answers = await asyncio.gather(*(ask(gateway.target, "faulty", words) for words in turns))
    for status, answer in answers:
        flaw = find_flaw(status, answer) or ("" if must_hear in answer else "the agent's words are lost")
        lab.expect(not flaw, f"a caller of the faulty agent: {flaw}")
    lab.expect(all(lab.agent.asked[words] <= 1 for words in turns), "the faulty agent got a turn twice")


def add_upstream_fault(fault: str, name: str) -> None:
    @experiment(name, short=fault == "cut")
    async def run(lab: Lab) -> None:
        plan = f"first=0.05,every=0.02,tokens=10,fault={fault}"
        await run_faulty(
            lab, f'[agents.faulty]\nkind = "openai"\nurl = "{lab.agent.url}"\nmodel = "{plan}"\n{TIMEOUTS}'
        )


for each_fault, each_name in UPSTREAM_FAULTS.items():
    add_upstream_fault(each_fault, each_name)


async def run_prepared(lab: Lab, answer: bytes, byte_delay: float = 0.0, *, must_hear: bytes = b"") -> None:
    """Let the faulty agent give this answer to every turn; `byte_delay` is the seconds after each byte."""
    agent = PreparedAgent(lambda head: answer, byte_delay)
    await agent.start()
    timeouts = PATIENCE if byte_delay else TIMEOUTS
    section = f'[agents.faulty]\nkind = "openai"\nurl = "{agent.url}/v1"\n{timeouts}'
    await run_faulty(lab, section, must_hear=must_hear)


@experiment("agent dribbles, a byte every 5 ms")
async def run_dribble(lab: Lab) -> None:
    events = [content_event(b"We are open. "), content_event(b"Come in. ")]
    await run_prepared(lab, encode_answer(events), 0.005, must_hear=b"Come in")


@experiment("agent lies about types and usage")
async def run_wrong_types(lab: Lab) -> None:
    usage = b'{"choices":[],"usage":{"prompt_tokens":"many","completion_tokens":-7}}'
    lies = [content_event(b"We are open. "), b'{"choices":"none"}', b'{"choices":[{"delta":7}]}', usage]
    await run_prepared(lab, encode_answer(lies))


@experiment("agent lies about the length of its answer")
async def run_wrong_length(lab: Lab) -> None:
    event = b"data: %b\n\n" % content_event(b"We are open. ")
    await run_prepared(lab, ANSWER_HEAD + b"ffff\r\n" + event)


@experiment("agent sends half a character")
async def run_bad_utf8(lab: Lab) -> None:
    events = [content_event(text) for text in (b"We are open ", b"until \xf0\x9f six. ", b"Come in. ")]
    await run_prepared(lab, encode_answer(events), must_hear=b"Come in")


@experiment("agent's server says secrets in odd places")
async def run_secrets(lab: Lab) -> None:
    call = b'{"index":0,"id":"c","function":{"name":"%b","arguments":"{"}}'
    tool = b'{"choices":[{"delta":{"tool_calls":[' + call + b"]}}]}"
    answers = {
        "redirect": b"HTTP/1.1 302 Found\r\nLocation: https://127.0.0.1/?s=%b\r\nContent-Length: 0\r\n\r\n"
        % SECRET,
        "type": b"HTTP/1.1 200 OK\r\nContent-Type: text/%b\r\nContent-Length: 0\r\n\r\n" % SECRET,
        "tool": encode_answer([tool % SECRET]),
        "usage": encode_answer([b'{"choices":[],"usage":{"prompt_tokens":"%b"}}' % SECRET]),
    }
    agent = PreparedAgent(lambda head: answers[head.split(b"/")[1].decode()])
    await agent.start()
    sections = "".join(
        f'[agents.{name}]\nkind = "openai"\nurl = "{agent.url}/{name}/v1"\n' for name in answers
    )
    async with lab.gateway(lab.config(sections)) as gateway, lab.innocents(gateway):
        for name in answers:
            status, answer = await ask(gateway.target, name)
            lab.expect(
                not find_flaw(status, answer), f"a caller of the agent {name}: {find_flaw(status, answer)}"
            )
    leaked = [line for line in gateway.log.splitlines() if SECRET.decode() in line]
    lab.expect(not leaked, f"words of an agent's server are in {len(leaked)} lines of the log")


@experiment("agent ignores cancellation, 45 callers hang up")
async def run_stubborn(lab: Lab) -> None:
    section = '[agents.stubborn]\nkind = "python"\ntarget = "agents:stubborn"\n'
    config = lab.config(section, limits="concurrent_turns = 20", grace=0)
    async with lab.gateway(config, agents=STUBBORN) as gateway, lab.innocents(gateway):
        request = gateway.attacker.encode_request("stubborn")
        for _ in range(45):
            reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
            writer.write(request)
            await reader.read(100)
            writer.transport.abort()
        status, answer = await ask(gateway.target, "echo")
        lab.expect(not find_flaw(status, answer), f"a caller of another agent: {find_flaw(status, answer)}")
        await during(1)


@experiment("agent's sessions are all taken by calls that are over")
async def run_full_sessions(lab: Lab) -> None:
    sessions = 8
    answer = b'data: {"type":"agent_choice","content":"We are open. "}\n\ndata: {"type":"stream_stopped"}\n\n'
    numbers = iter(range(1000))

    def reply(head: bytes) -> bytes:
        if head.startswith(b"GET"):
            return plain(b'[{"name": "team"}]', b"application/json")
        if head.startswith(b"POST /api/sessions "):
            return plain(b'{"id": "s%d"}' % next(numbers), b"application/json")
        return plain(b"{}" if head.startswith(b"DELETE") else answer, b"text/event-stream")

    agent = PreparedAgent(reply)
    await agent.start()
    section = f'[agents.team]\nkind = "docker-agent"\nmode = "api"\nurl = "{agent.url}"\n'
    section += f"max_sessions = {sessions}\n"
    async with lab.gateway(lab.config(section)) as gateway, lab.innocents(gateway):
        for number in range(sessions):
            await ask(gateway.attacker, "team", x_voicegw_call=f"old {number}")
        await during(1)
        status, heard = await ask(gateway.target, "team", x_voicegw_call="new")
        lab.expect(status == 200 and b"We are open" in heard, "a new caller gets no session of the agent")


def plain(body: bytes, content_type: bytes) -> bytes:
    """Return a whole HTTP answer, after which the connection closes."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
    return head % (content_type, len(body)) + body
