"""The OpenHands agent: one conversation on the agent server per call, streamed over its session socket.

It does not use the server's OpenAI interface, which answers only when a turn is complete; here the first
word leaves when the model makes it. Servers without the native API are asked by that interface.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from ssl import SSLContext
from uuid import uuid4

from voicegw.agents.client.http_errors import redact
from voicegw.agents.openai.agent import OpenAIAgent
from voicegw.agents.openhands import requests
from voicegw.agents.openhands.confirmation import confirmation_question, is_yes
from voicegw.agents.openhands.conversation import OpenHandsConversation
from voicegw.agents.openhands.decoder import WAITING_FOR_CONFIRMATION, OpenHandsTurnDecoder
from voicegw.agents.openhands.requests import Confirm
from voicegw.agents.openhands.server import ConversationNotFound, OpenHandsServer
from voicegw.agents.openhands.turn_pump import TurnPump
from voicegw.agents.session_pool import SessionPool
from voicegw.agents.session_prompt import new_user_messages, session_prompt, system_prompt, user_message_count
from voicegw.errors import AgentBusy, AgentError
from voicegw.events import Turn, Usage
from voicegw.turns.streaming import EventSink, StreamingAgent

MAX_DENIALS = 5
"""Number of denied actions in one turn after which the turn fails at the next one."""
DENIAL_REASON = "Nobody may confirm this on the phone. Go on without it, or say what you would need."
"""The reason that the agent gets for a denied action."""


class OpenHandsAgent(StreamingAgent):
    """An agent on the agent server at `url`: OpenHands 1.43 or newer. Older ones use their OpenAI interface.

    `profile` is the LLM profile of a turn that names none of `models`; None takes the server's active one.
    With `tools` the conversation has a lean agent, whose final answer is plain text that streams. With None
    it has the server's agent profile: its final answer may arrive all at once, and it retries a failing model
    for longer than a caller waits. `workspace` is a folder on the server's machine.

    `confirm` decides about actions whose risk is high or unknown: `"ask"` asks the caller aloud and runs them
    after a clear yes, `"deny"` rejects them, `"never"` runs them without confirmation.

    Closing a reply interrupts the conversation. The server then forgets the answer, so the next message says
    which part the caller heard. A conversation is deleted when its call ends, unless `keep_conversations`.
    The usage of a turn is unknown after a call changed its model. `connect_timeout` is in seconds.
    `idempotent`: a turn may be sent twice without harm. At most `max_sessions` conversations are open.
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
        keep_conversations: bool = False,
        ssl: SSLContext | None = None,
        connect_timeout: float = 5.0,
        idempotent: bool = False,
        max_sessions: int = 1000,
    ) -> None:
        self._server = OpenHandsServer(url, key, profile, ssl, connect_timeout, idempotent)
        self._where = self._server.where
        self._tools = tools
        self._workspace = workspace
        self._confirm = confirm
        self._keep_conversations = keep_conversations
        self._openai_agent: OpenAIAgent | None = None
        self._sessions = SessionPool(self._open, self._close, max_sessions=max_sessions)
        # The names that a turn can ask for: one per LLM profile. The server updates the list in place.
        self.models = self._server.models

    async def stream(self, turn: Turn, sink: EventSink) -> None:
        """Send the new messages of the call to its conversation, and push the events of the answer.

        Raises `AgentBusy` when `max_sessions` are in use or the server is at its run limit, `AgentTimeout`,
        `AgentRejected`, `AgentUnavailable` or `AgentProtocolError` for a server that cannot be used, and
        `AgentError` for a turn that fails. A cancellation interrupts the conversation.
        """
        async with self._sessions.acquire(turn) as conversation:
            try:
                openai_agent = await self._prepare(conversation, system_prompt(turn), turn.model)
                if openai_agent is None:
                    await self._answer(turn, conversation, sink)
                else:
                    await openai_agent.stream(turn, sink)
            except AgentError as error:
                redact(error, self._server.secrets)
                raise

    async def warm(self, call: str | None = None) -> None:
        """Create the conversation of `call` and connect to it; with None, load the server's profiles.

        The first turn of a conversation with a terminal still takes 0.1 s more than the others: only a turn
        starts the terminal. Raises `AgentError` when the server cannot be used.
        """
        if call is None:
            await self._server.load_profiles()
        else:
            await self._sessions.warm(call, lambda conversation: self._prepare(conversation, "", ""))

    async def call_ended(self, call: str) -> None:
        """Close the conversation of a call, and delete it unless conversations are kept."""
        await self._sessions.call_ended(call)
        if self._openai_agent is not None:
            await self._openai_agent.call_ended(call)

    async def aclose(self) -> None:
        """Close all connections. The conversations of calls stay on the server."""
        await self._sessions.aclose()
        await self._server.api.client.aclose()
        if self._openai_agent is not None:
            await self._openai_agent.aclose()

    async def _answer(self, turn: Turn, conversation: OpenHandsConversation, sink: EventSink) -> None:
        if conversation.question and not _has_new_message(turn, conversation):
            sink.push(conversation.question)
            return
        prompt = await self._prompt(turn, conversation)
        decoder = OpenHandsTurnDecoder(prompt, conversation.total_usage, self._where)
        pump = TurnPump(conversation, decoder, sink)
        try:
            await self._send(turn, conversation, decoder)
            if not await self._pump(conversation, decoder, pump):
                return
            if decoder.status == WAITING_FOR_CONFIRMATION:
                conversation.pending_actions = decoder.pending_actions
                conversation.question = confirmation_question(decoder.pending_actions, turn.language)
                sink.push(decoder.separate(conversation.question))
            decoder.raise_for_status()
            if (usage := decoder.usage) != Usage():
                sink.push(usage)
        finally:
            if decoder.sent and not decoder.status and not decoder.run_limit_reached:
                await conversation.stop(decoder)
            if decoder.started and not turn.background:
                lost_text = "".join(pump.texts) or (None if decoder.status else "")
                conversation.interrupted_text = None if decoder.is_remembered else lost_text
            conversation.has_unanswered_text = conversation.has_unanswered_text or decoder.run_limit_reached
            conversation.total_usage, conversation.seq = decoder.total_usage, decoder.seq

    async def _prompt(self, turn: Turn, conversation: OpenHandsConversation) -> str | None:
        """Return the text to send; None if the run continues after a yes, or the server has the text.

        The server takes any message for a yes. So a pending action is rejected first, unless it is confirmed.
        """
        if conversation.awaits_confirmation:
            if _is_confirmed(turn, conversation):
                return None
            await conversation.reject(turn.said)
            conversation.awaits_confirmation, conversation.question = False, ""
        elif conversation.has_unanswered_text and not _has_new_message(turn, conversation):
            return None
        heard = conversation.interrupted_text if turn.heard is None else turn.heard
        dialog = tuple(message for message in turn.messages if message.role not in ("system", "developer"))
        messages = dialog if conversation.system_suffix else turn.messages
        turn = replace(turn, heard=heard, messages=messages)
        return session_prompt(turn, conversation.user_messages_sent, fresh=conversation.is_new)

    async def _send(
        self, turn: Turn, conversation: OpenHandsConversation, decoder: OpenHandsTurnDecoder
    ) -> None:
        """Send the prompt, or let the run continue. From here on no other agent may get the same turn."""
        decoder.sent = True
        new_messages = new_user_messages(turn.messages, conversation.user_messages_sent or 0)
        if decoder.prompt is not None:
            await conversation.send(requests.user_message(decoder.prompt, new_messages))
        else:  # no frame marks where the answer begins, but a new socket has frames of this run only
            conversation.disconnect()
            await conversation.connect()
            try:
                await (conversation.accept() if conversation.awaits_confirmation else conversation.run())
            except AgentBusy:
                decoder.run_limit_reached = True
                raise
        conversation.awaits_confirmation, conversation.question = False, ""
        conversation.has_unanswered_text, decoder.seq = False, conversation.seq
        if not turn.background:
            conversation.user_messages_sent = user_message_count(turn.messages)

    async def _pump(
        self, conversation: OpenHandsConversation, decoder: OpenHandsTurnDecoder, pump: TurnPump
    ) -> bool:
        """Push events until the run ends or waits for the caller. Unless it may ask, deny each action.

        Return False if the sink takes no more.
        """
        for denied in range(MAX_DENIALS + 1):
            if not await pump.pump():
                return False
            conversation.awaits_confirmation = decoder.status == WAITING_FOR_CONFIRMATION
            if not conversation.awaits_confirmation or self._confirm == "ask":
                return True
            decoder.resume()
            await conversation.reject(DENIAL_REASON)
            conversation.awaits_confirmation = False
            if denied < MAX_DENIALS:
                await conversation.run()
        raise AgentError(f"{self._where} requests denied actions again and again")

    async def _prepare(
        self, conversation: OpenHandsConversation, instructions: str, model: str
    ) -> OpenAIAgent | None:
        """Create and connect the conversation, and select its model.

        Return None, or the agent to ask instead if the server has no native API.
        """
        profile = await self._server.select_profile(model)
        if not self._server.has_native_api:
            self._openai_agent = self._openai_agent or await self._server.make_openai_agent()
            return self._openai_agent
        try:
            await self._connect(conversation, instructions, profile)
        except ConversationNotFound:
            await self._connect(conversation, instructions, profile)
        if conversation.needs_interrupt:
            await conversation.interrupt()
            conversation.needs_interrupt = False
        if profile is not None and profile != conversation.profile:
            await conversation.switch_profile(profile, await self._server.fetch_llm_settings(profile))
        return None

    async def _connect(
        self, conversation: OpenHandsConversation, instructions: str, profile: str | None
    ) -> None:
        if not conversation.exists:
            is_lean = self._tools is not None or self._server.profiles.agent_profile_id is None
            suffix = instructions if len(instructions) <= requests.MAX_SUFFIX_CHARS else ""
            conversation.system_suffix = suffix
            conversation.profile = profile
            request = requests.conversation_request(
                conversation.id,
                self._server.profiles,
                llm=await self._server.fetch_llm_settings(profile) if is_lean and profile else None,
                profile=profile,
                tools=self._tools,
                suffix=suffix,
                workspace=self._workspace,
                confirm=self._confirm,
            )
            await conversation.create(request)
        await conversation.connect()

    async def _open(self, call: str | None) -> OpenHandsConversation:
        return OpenHandsConversation(self._server, call or str(uuid4()), is_temporary=call is None)

    async def _close(self, conversation: OpenHandsConversation, call_ended: bool) -> None:
        delete = call_ended and (conversation.is_temporary or not self._keep_conversations)
        await conversation.close(delete)


def _has_new_message(turn: Turn, conversation: OpenHandsConversation) -> bool:
    """Whether the turn has a message of the caller that the conversation did not get."""
    sent = conversation.user_messages_sent
    return sent is None or user_message_count(turn.messages) > sent


def _is_confirmed(turn: Turn, conversation: OpenHandsConversation) -> bool:
    """Whether the caller was asked, heard every pending action, and said yes."""
    heard = turn.heard
    heard_all = heard is None or all(action in heard for action in conversation.pending_actions)
    return (
        bool(conversation.question)
        and heard_all
        and _has_new_message(turn, conversation)
        and is_yes(turn.said)
    )
