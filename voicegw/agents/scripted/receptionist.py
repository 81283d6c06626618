"""The demo agent: Robin, the receptionist of a small bicycle workshop.

It uses no model and no network, yet it holds a conversation and calls the tools that a request offers. It
keeps nothing between turns: it reads the state of a booking from the caller's messages. Its own answers do
not count, because the caller may have interrupted them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import reduce

import orjson

from voicegw.agents.scripted.tool_arguments import (
    MAX_TEXT_LENGTH,
    as_mapping,
    knows_destination,
    make_call,
    result_text,
    text_after_name,
)
from voicegw.events import Tool, ToolCall, Turn
from voicegw.turns.prompts import CALL_START_PROMPT, SILENCE_PROMPT

MAX_MESSAGES = 40
"""How many of the caller's last messages are read, which bounds the work of a turn."""

GREETING = "Hello, this is Bluebell Bicycles, Robin speaking. How can I help you?"
SILENCE = "Are you still there? You can ask me for our opening hours, our prices, or an appointment."
TRANSFER = "Of course. I am putting you through to Marta, who runs the workshop."
FAREWELL = "Thank you for calling Bluebell Bicycles. Goodbye, and happy riding!"
TOPICS = {
    "goodbye": (
        r"\b(good ?)?bye\b|\bsee you\b|\bthat('s| is| was|'ll be) (all|everything)\b|\bhang up\b"
        r"|^\W*no\W*(thanks|thank you)?\W*$|\bnothing else\b",
        FAREWELL,
    ),
    "who": (
        r"\bwho (are you|is this|am i)|\bwhat are you\b|\byour name\b"
        r"|\bare you (a |an )?(real |actual )?(human|person|robot|bot|machine|computer|real|ai)\b",
        "I am Robin, the telephone assistant of Bluebell Bicycles. I am a computer program, and I know "
        "our opening hours, our prices and the appointment book.",
    ),
    "human": (
        r"\b(human|(real|actual) person|operator|representative|manager|marta|put me through)\b"
        r"|\b(talk|speak) (to|with) (a|an|the|some\w+)\b",
        "I cannot put you through on this line. Marta, who runs the workshop, is at the counter whenever "
        "we are open, and she loves visitors.",
    ),
    "hours": (
        r"\b(opening|hours|opens?|closes?|closed)\b",
        "We are open from Tuesday to Saturday, from nine in the morning until six in the evening. "
        "On Sundays and Mondays we are closed.",
    ),
    "where": (
        r"\b(where|address|located|location|directions?|parking|find you)\b",
        "You find us at twelve Orchard Lane, right behind the old fire station.",
    ),
    "prices": (
        r"\b(prices?|pricing|costs?|how much|charge|fees?|expensive|cheap)\b",
        "A small repair starts at twenty pounds, and a full service is sixty five. You always hear the "
        "exact price before we pick up a spanner.",
    ),
    "repair": (
        r"\b(flat|puncture|brakes?|chain|gears?|wheels?|t[iy]res?|pedals?|squeak\w*|broken|repair)\b",
        "Oh dear, but we mend that every week. Bring it in, or book a time.",
    ),
    "thanks": (r"\b(thanks|thank you|cheers)\b", "You are very welcome. Is there anything else I can do?"),
    "help": (
        r"\bhelp\b|\bwhat can you do\b|^\W*(yes|yeah|sure|okay|ok)\W*(please)?\W*$",
        "I can tell you our opening hours, our prices and where to find us, and I can book, move or "
        "cancel an appointment. What would you like?",
    ),
    "hello": (
        r"^\W*(hello|hi|hey|good (morning|afternoon|evening|day))(\W+(there|robin|how are you))*\W*$",
        GREETING,
    ),
}
INFORMATION_TOPICS = {"who", "human", "hours", "where", "prices", "repair"}
TOPIC_TOOLS = {
    "goodbye": (("end_call", "endCall"), FAREWELL, "The caller said goodbye."),
    "human": (("transfer_to_number", "transferCall"), TRANSFER, "The caller asked for a person."),
}
INTENTS = {
    "forget": r"\bnever ?mind\b|\bforget (it|that|about)\b",
    "cancel": r"\bcancel",
    "move": r"\breschedul|\bpostpone|\b(change|move|shift)\b.*\b(appointment|booking|visit|time|day|it)\b",
    "book": r"\b(book|booking|appointment|reserve|schedule|come (in|by)|bring (it|my|the)|drop (it|my))\b",
}
REQUIRED_DETAILS = {"cancel": ("name",), "move": ("day", "time", "name"), "book": ("day", "time", "name")}
QUESTIONS = {
    "day": "Which day from Tuesday to Saturday would suit you?",
    "time": "At what time between nine and six would you like to come?",
    "name": "Under which name, please?",
}
DAY = r"(?i)\b(?:(?:tues|wednes|thurs|fri|satur)day|today|tomorrow)\b"
NAME = r"\b(?i:my name is|under(?: the name)?(?: of)?) ([^\W\d_]+(?: [A-Z](?:[^\W_]|['-])*)*)"
NAME_ONLY = (
    r"(?i)^\W*(?:(?:it is|it's|i am|i'm|for|the name is) )?"
    r"((?!what|sorry)[^\W\d_](?:[^\W_]|['-])*(?: (?:[^\W_]|['-])+)?)\W*$"
)
HOURS = ("twelve", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven")
CLOCK = (
    rf"(?i)\b(at )?((?:half|quarter) (?:past|to) )?(\d\d?|{'|'.join(HOURS)})(?:[:.]([0-5]\d)| (thirty))?"
    r"(\s?(?:[ap]\.?m\b|o.?clock|in the (?:morning|afternoon|evening)))?(?![\w:])"
)
MINUTES_PAST = {"half past": 30, "quarter past": 15, "quarter to": -15}
QUARTERS = ("", "quarter past ", "half past ", "quarter to ")
REPLACED_PRONOUNS = {
    "i": "you",
    "i'm": "you are",
    "i've": "you have",
    "my": "your",
    "me": "you",
    "am": "are",
    "your": "our",
}


@dataclass(frozen=True, slots=True)
class Booking:
    """The appointment as the caller described it so far. A detail is "" until the caller gives it."""

    # A key of `INTENTS`, "" while the caller wants nothing about an appointment.
    intent: str = ""
    # Capitalised, such as "Friday" or "Tomorrow".
    day: str = ""
    # In words, such as "half past ten in the morning".
    time: str = ""
    # The name of the caller.
    name: str = ""

    @property
    def missing_detail(self) -> str:
        """The name of the detail to ask for next, "" if none is missing."""
        details = REQUIRED_DETAILS.get(self.intent, ())
        return next((detail for detail in details if not getattr(self, detail)), "")


def answer(turn: Turn) -> tuple[str, ToolCall | None]:
    """Return the text of this turn, and the call of an offered tool after it, or None.

    A tool's result is answered even if `tool_choice` forces a call: a client that never changes it would get
    calls forever. A text that a tool says to the caller is not repeated. Raises `AttributeError`,
    `LookupError`, `TypeError` or `ValueError` for a tool with an invalid schema.
    """
    if (result := result_text(turn)) is not None:
        return result, None
    topic = find_topic(turn.said.strip()[-MAX_TEXT_LENGTH:])
    tool = choose_tool(turn, topic)
    if tool is None:
        return reply(turn, topic), None
    names, text, reason = TOPIC_TOOLS.get(topic, ((), "", ""))
    if tool.name not in names:
        return "", make_call(turn, tool)
    call = make_call(turn, tool, reason=reason, message=text, client_message=text, agent_message=reason)
    return ("" if text in orjson.loads(call.arguments).values() else text), call


def find_topic(user_text: str) -> str:
    """Return the first topic that the text is about, "" if there is none."""
    return next((name for name, (words, _) in TOPICS.items() if re.search(words, user_text, re.I)), "")


def reply(turn: Turn, topic: str) -> str:
    """Return the text of a turn without a tool: about the topic, the appointment, or both."""
    texts = [m.text.strip()[-MAX_TEXT_LENGTH:] for m in turn.messages if m.role == "user"][-MAX_MESSAGES:]
    if not texts or texts[-1] == CALL_START_PROMPT:
        return GREETING
    last = texts[-1]
    if turn.kind == "reminder" or last == SILENCE_PROMPT or not re.search(r"[^\W_]", last):
        return SILENCE
    if keys := re.fullmatch(r"\(.*\bpressed ([0-9*#]+) .*\)", last):
        return f"You pressed {' '.join(keys[1])}. What can I do for you?"
    if topic == "goodbye":
        return FAREWELL
    before = reduce(update_booking, texts[:-1], Booking())
    booking = update_booking(before, last)
    if booking.missing_detail:
        is_new, is_stuck = booking.intent != before.intent, booking.missing_detail == before.missing_detail
        acknowledgement = "Of course." if is_new else "Sorry?" if is_stuck else "Lovely."
        beginning = TOPICS[topic][1] if topic in INFORMATION_TOPICS else acknowledgement
        return f"{beginning} {QUESTIONS[booking.missing_detail]}"
    if booking.intent:
        return confirm(booking)
    if topic:
        return TOPICS[topic][1]
    return f"Let me note that down: {repeat_back(last)}. Is there anything else?"


def update_booking(booking: Booking, user_text: str) -> Booking:
    """Return the booking after one more message. An intent that has all its details is completed."""
    question = booking.missing_detail
    day = (re.findall(DAY, user_text) or [""])[-1].capitalize()
    intent = next((intent for intent, words in INTENTS.items() if re.search(words, user_text, re.I)), "")
    intent = intent or (booking.intent if question else "book" if day and not booking.day else "")
    if intent != booking.intent or not question:
        booking = Booking(intent, name=booking.name) if intent else replace(booking, intent="")
    name = re.search(NAME, user_text)
    if not name and question == "name" and not find_topic(user_text):
        name = re.search(NAME_ONLY, user_text)
    return replace(
        booking,
        day=day or booking.day,
        time=find_time(user_text, question == "time") or booking.time,
        name=(name[1].title() if name[1].islower() else name[1]) if name else booking.name,
    )


def find_time(user_text: str, accept_number: bool) -> str:
    """Return the first time within the opening hours, in words, "" if there is none.

    `accept_number` takes a bare number for a time.
    """
    for at, past, hour, minute, half, part in re.findall(CLOCK, user_text):
        number = int(hour) if hour.isdecimal() else HOURS.index(hour.lower())
        is_afternoon = re.search("p|noon|evening", part, re.I) if part else number < 9
        minutes = (number % 12 + 12 if is_afternoon else number) * 60 + int(minute or 0) + 30 * bool(half)
        minutes += MINUTES_PAST.get(past.lower().strip(), 0)
        if (accept_number or at or past or minute or half or part) and 9 * 60 <= minutes < 18 * 60:
            name = HOURS[(minutes + 15) // 60 % 12]
            part_of_day = "morning" if minutes < 720 else "afternoon"
            return f"{QUARTERS[minutes % 60 // 15]}{name} in the {part_of_day}"
    return ""


def confirm(booking: Booking) -> str:
    """Return the confirmation of an intent that has all its details."""
    if booking.intent == "forget":
        return "No problem at all. What else can I do for you?"
    day = booking.day.lower() if booking.day.startswith("To") else booking.day
    results = {
        "book": f"you are booked in for {day} at {booking.time}",
        "move": f"your appointment is now {day} at {booking.time}",
        "cancel": "your appointment is cancelled",
    }
    return f"All right, {booking.name}, {results[booking.intent]}. Is there anything else I can do?"


def repeat_back(user_text: str) -> str:
    """Return the caller's first words from Robin's side, without anything that is no word."""
    words = re.findall(r"[^\W_]+(?:['’-][^\W_]+)*", user_text)[:12]
    return " ".join(REPLACED_PRONOUNS.get(word.lower(), word) for word in words)


def choose_tool(turn: Turn, topic: str) -> Tool | None:
    """Return the offered tool to call, or None: a forced one, one that the caller names, or the topic's."""
    offered, choice = {tool.name: tool for tool in turn.tools}, turn.tool_choice
    if not offered or choice == "none":
        return None
    if isinstance(choice, Mapping) and (name := as_mapping(choice.get("function", choice)).get("name")):
        return offered.get(name)
    user_text = turn.said[-MAX_TEXT_LENGTH:]
    named = (tool for tool in turn.tools if text_after_name(tool, user_text) is not None)
    names = TOPIC_TOOLS.get(topic, ((),))[0]
    of_topic = (offered[name] for name in names if name in offered and knows_destination(offered[name]))
    required = turn.tools[0] if choice == "required" else None
    return next(named, None) or next(of_topic, None) or required
