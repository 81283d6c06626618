"""OpenHands by its native API: a conversation for each call, and the socket on which its words stream.

Its own OpenAI interface answers when all is done; here the first word leaves as soon as it is made.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from ssl import SSLContext
from uuid import uuid4

from voicegw.agents.client.http_errors import redact
from voicegw.agents.openai.agent import OpenAIAgent
from voicegw.agents.openhands import requests as orders
from voicegw.agents.openhands.confirmation import confirmation_question, is_yes
from voicegw.agents.openhands.conversation import OpenHandsConversation
from voicegw.agents.openhands.decoder import WAITING, OpenHandsTurnDecoder
from voicegw.agents.openhands.requests import Confirm
from voicegw.agents.openhands.server import ConversationNotFound, OpenHandsServer
from voicegw.agents.session_pool import SessionPool
from voicegw.agents.session_prompt import new_messages, session_prompt, system, user_message_count
from voicegw.errors import AgentBusy, AgentError
from voicegw.events import Event, Turn, Usage

DENIALS = 5
"""How often an agent may want in one turn what is denied."""
DENIED = "Nobody may confirm this on the phone. Go on without it, or say what you would need."


class OpenHandsAgent:
    """The agent server at `url`, OpenHands 1.43 or newer; older ones by their OpenAI interface.

    `profile` is the LLM profile that speaks: a turn may name another of `models`, by default it is the active
    one. With `tools` it is a lean agent, which ends with plain words that stream. Without, it is the server's
    agent profile, whose last words may come at once, and which asks a failing model again and again for
    longer than anybody waits on a phone. `workspace` is a folder on the server's machine.

    `confirm` says what becomes of actions whose risk is high or unknown: `"ask"` asks the caller aloud and
    does them after a clear yes, `"deny"` tells the agent no, `"never"` lets the agent do everything.

    Closing a reply interrupts the conversation, which forgets the answer then; the next words tell it what
    was heard of it. Conversations are removed with their calls, unless `keep`. What a turn used is not known
    once a call changed its model. `connect` is in seconds.
    """

    def __init__(
        self,
        url: str,
        *,
        key: str | None = None,
        profile: str | None = None,
        tools: Sequence[str] | None = None,
        workspace: str | None = None,
        confirm: Confirm = "ask",
        keep: bool = False,
        ssl: SSLContext | None = None,
        connect: float = 5.0,
        max_sessions: int = 1000,
    ) -> None:
        self._server = OpenHandsServer(url, key, profile, ssl, connect)
        self._where = self._server.where
        self._tools = tools
        self._workspace = workspace
        self._confirm = confirm
        self._keep = keep
        self._plain: OpenAIAgent | None = None
        self._sessions = SessionPool(self._open, self._close, max_sessions=max_sessions)
        self.models = self._server.models

    async def reply(self, turn: Turn) -> AsyncGenerator[Event, None]:
        """Say what is new in the conversation of the call, and give what is answered."""
        async with self._sessions.acquire(turn) as talk:
            try:
                plain = await self._ready(talk, system(turn), turn.model)
                answer = self._answer(turn, talk) if plain is None else plain.reply(turn)
                async with aclosing(answer) as events:
                    async for event in events:
                        yield event
            except AgentError as error:
                redact(error, self._server.secrets)
                raise

    async def warm(self, call: str | None = None) -> None:
        """Begin the conversation of a call and listen to it; at first learn the profiles.

        Its first turn still takes 0.1 s more than others if there is a terminal: only a turn starts that.
        """
        if call is None:
            await self._server.learn()
        else:
            await self._sessions.warm(call, lambda talk: self._ready(talk, "", ""))

    async def call_ended(self, call: str) -> None:
        """End the conversation of a call."""
        await self._sessions.call_ended(call)
        if self._plain is not None:
            await self._plain.call_ended(call)

    async def aclose(self) -> None:
        await self._sessions.aclose()
        await self._server.api.client.aclose()
        if self._plain is not None:
            await self._plain.aclose()

    async def _answer(self, turn: Turn, talk: OpenHandsConversation) -> AsyncGenerator[Event, None]:
        if talk.asking and not _spoke(turn, talk):
            yield talk.asking
            return
        said: list[str] = []
        answer = OpenHandsTurnDecoder(await self._words(turn, talk), talk.totals, self._where)
        try:
            await self._hand_over(turn, talk, answer)
            async with aclosing(self._settled(talk, answer)) as events:
                async for event in events:
                    if type(event) is str:
                        said.append(event)
                    yield event
            if answer.status == WAITING:
                talk.wanted, talk.asking = answer.wanted, confirmation_question(answer.wanted, turn.language)
                yield answer.say(talk.asking)
            answer.check()
            if (used := answer.used) != Usage():
                yield used
        finally:
            if answer.handed and not answer.status and not answer.full:
                await talk.stop(answer)
            if answer.begun and not turn.background:
                talk.cut = None if answer.kept else "".join(said) or (None if answer.status else "")
            talk.saved = talk.saved or answer.full
            talk.totals, talk.seq = answer.totals, answer.seq

    async def _words(self, turn: Turn, talk: OpenHandsConversation) -> str | None:
        """What the conversation is told; None if it goes on by a yes, or has been told already.

        Any words would be taken for a yes, so where one is waited for and not given, it is told no first.
        """
        if talk.waiting:
            if _allowed(turn, talk):
                return None
            await talk.reject(turn.said)
            talk.waiting, talk.asking = False, ""
        elif talk.saved and not _spoke(turn, talk):
            return None
        heard = talk.cut if turn.heard is None else turn.heard
        kept = [message for message in turn.messages if message.role not in ("system", "developer")]
        asked = replace(turn, heard=heard, messages=tuple(kept) if talk.suffix else turn.messages)
        return session_prompt(asked, talk.known, fresh=talk.fresh)

    async def _hand_over(self, turn: Turn, talk: OpenHandsConversation, answer: OpenHandsTurnDecoder) -> None:
        """Say it. From here on nobody else may be asked the same."""
        answer.handed = True
        words = new_messages(turn.messages, talk.known or 0)
        if answer.said is not None:
            await talk.send(orders.message(answer.said, words))
        else:  # nothing marks where the answer begins, but a new socket
            talk.hang_up()
            await talk.connect()
            try:
                await (talk.accept() if talk.waiting else talk.run())
            except AgentBusy:
                answer.full = True
                raise
        talk.waiting, talk.asking, talk.saved, answer.seq = False, "", False, talk.seq
        if not turn.background:
            talk.known = user_message_count(turn.messages)

    async def _settled(
        self, talk: OpenHandsConversation, answer: OpenHandsTurnDecoder
    ) -> AsyncGenerator[Event, None]:
        """What it tells until it ends, or waits for the caller; an agent that is denied something goes on."""
        for denied in range(DENIALS + 1):
            async with aclosing(talk.told(answer)) as events:
                async for event in events:
                    yield event
            talk.waiting = answer.status == WAITING
            if not talk.waiting or self._confirm == "ask":
                return
            answer.go_on()
            await talk.reject(DENIED)
            talk.waiting = False
            if denied < DENIALS:
                await talk.run()
        raise AgentError(f"{self._where} wants again and again what is denied")

    async def _ready(self, talk: OpenHandsConversation, instructions: str, model: str) -> OpenAIAgent | None:
        """Have the conversation, its socket and its model; gives what to ask where there is no such thing."""
        profile = await self._server.wanted(model)
        if not self._server.native:
            self._plain = self._plain or await self._server.openai()
            return self._plain
        try:
            await self._connected(talk, instructions, profile)
        except ConversationNotFound:
            await self._connected(talk, instructions, profile)
        if talk.astray:
            await talk.interrupt()
            talk.astray = False
        if profile is not None and profile != talk.profile:
            await talk.switch(profile, await self._server.settings(profile))
        return None

    async def _connected(self, talk: OpenHandsConversation, instructions: str, profile: str | None) -> None:
        if not talk.begun:
            lean = self._tools is not None or self._server.known.agent is None
            talk.suffix = instructions if len(instructions) <= orders.SUFFIX else ""
            talk.profile = profile
            order = orders.conversation_request(
                talk.id,
                self._server.known,
                llm=await self._server.settings(profile) if lean and profile else None,
                profile=profile,
                tools=self._tools,
                suffix=talk.suffix,
                workspace=self._workspace,
                confirm=self._confirm,
            )
            await talk.begin(order)
        await talk.connect()

    async def _open(self, call: str | None) -> OpenHandsConversation:
        return OpenHandsConversation(self._server, call or str(uuid4()), own=call is None)

    async def _close(self, talk: OpenHandsConversation, gone: bool) -> None:
        await talk.close(gone and (talk.own or not self._keep))


def _spoke(turn: Turn, talk: OpenHandsConversation) -> bool:
    """Whether the caller said anything that the conversation was not told."""
    return talk.known is None or user_message_count(turn.messages) > talk.known


def _allowed(turn: Turn, talk: OpenHandsConversation) -> bool:
    """Whether the caller was asked, heard what it is about, and said yes."""
    heard = turn.heard is None or all(what in turn.heard for what in talk.wanted)
    return bool(talk.asking) and heard and _spoke(turn, talk) and is_yes(turn.said)
