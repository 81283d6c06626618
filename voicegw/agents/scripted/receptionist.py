"""The demo agent: Robin, who answers the telephone of a small bicycle workshop.

It needs no model and no network, yet it holds a conversation and calls the tools that a request offers.
It keeps nothing between turns: where a booking stands is read from what the caller said so far. What
was answered does not count, because the caller may have cut it short.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import reduce

import orjson

from voicegw.agents.scripted.tool_arguments import MAX_TEXT_LENGTH, after_name, call, mapping, reaches, result
from voicegw.events import Tool, ToolCall, Turn
from voicegw.turns.prompts import CALL_START_PROMPT, SILENCE_PROMPT

MEMORY = 40
"""How many of the caller's messages are looked at: work is bounded."""

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
INFORMING = {"who", "human", "hours", "where", "prices", "repair"}
TOOLS = {
    "goodbye": (("end_call", "endCall"), FAREWELL, "The caller said goodbye."),
    "human": (("transfer_to_number", "transferCall"), TRANSFER, "The caller asked for a person."),
}
WISHES = {
    "forget": r"\bnever ?mind\b|\bforget (it|that|about)\b",
    "cancel": r"\bcancel",
    "move": r"\breschedul|\bpostpone|\b(change|move|shift)\b.*\b(appointment|booking|visit|time|day|it)\b",
    "book": r"\b(book|booking|appointment|reserve|schedule|come (in|by)|bring (it|my|the)|drop (it|my))\b",
}
NEEDS = {"cancel": ("name",), "move": ("day", "time", "name"), "book": ("day", "time", "name")}
QUESTIONS = {
    "day": "Which day from Tuesday to Saturday would suit you?",
    "time": "At what time between nine and six would you like to come?",
    "name": "Under which name, please?",
}
DAY = r"(?i)\b(?:(?:tues|wednes|thurs|fri|satur)day|today|tomorrow)\b"
NAME = r"\b(?i:my name is|under(?: the name)?(?: of)?) ([^\W\d_]+(?: [A-Z](?:[^\W_]|['-])*)*)"
JUST_A_NAME = (
    r"(?i)^\W*(?:(?:it is|it's|i am|i'm|for|the name is) )?"
    r"((?!what|sorry)[^\W\d_](?:[^\W_]|['-])*(?: (?:[^\W_]|['-])+)?)\W*$"
)
HOURS = ("twelve", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven")
CLOCK = (
    rf"(?i)\b(at )?((?:half|quarter) (?:past|to) )?(\d\d?|{'|'.join(HOURS)})(?:[:.]([0-5]\d)| (thirty))?"
    r"(\s?(?:[ap]\.?m\b|o.?clock|in the (?:morning|afternoon|evening)))?(?![\w:])"
)
PAST = {"half past": 30, "quarter past": 15, "quarter to": -15}
QUARTERS = ("", "quarter past ", "half past ", "quarter to ")
MIRROR = {
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
    """What is known of the caller's appointment, and what the caller wishes to do about it."""

    wish: str = ""
    day: str = ""
    time: str = ""
    name: str = ""

    @property
    def missing(self) -> str:
        """The next thing to ask for, or "" when nothing is."""
        return next((need for need in NEEDS.get(self.wish, ()) if not getattr(self, need)), "")


def answer(turn: Turn) -> tuple[str, ToolCall | None]:
    """What to say in this turn, and the offered tool to call after it, if any.

    A result is answered even when `tool_choice` forces a call: a client that leaves it on would
    otherwise go round in circles. What a tool says to the caller itself is not said twice.
    """
    if (found := result(turn)) is not None:
        return found, None
    topic = topic_of(turn.said.strip()[-MAX_TEXT_LENGTH:])
    tool = chosen(turn, topic)
    if tool is None:
        return reply(turn, topic), None
    names, text, reason = TOOLS.get(topic, ((), "", ""))
    if tool.name not in names:
        return "", call(turn, tool)
    asked = call(turn, tool, reason=reason, message=text, client_message=text, agent_message=reason)
    return ("" if text in orjson.loads(asked.arguments).values() else text), asked


def topic_of(said: str) -> str:
    return next((name for name, (words, _) in TOPICS.items() if re.search(words, said, re.I)), "")


def reply(turn: Turn, topic: str) -> str:
    """The words of a turn without a tool: about the topic, about the appointment, or about both."""
    told = [m.text.strip()[-MAX_TEXT_LENGTH:] for m in turn.messages if m.role == "user"][-MEMORY:]
    if not told:
        return GREETING
    if told[-1] == CALL_START_PROMPT:
        return GREETING
    if turn.kind == "reminder" or told[-1] == SILENCE_PROMPT or not re.search(r"[^\W_]", told[-1]):
        return SILENCE
    if keys := re.fullmatch(r"\(.*\bpressed ([0-9*#]+) .*\)", told[-1]):
        return f"You pressed {' '.join(keys[1])}. What can I do for you?"
    if topic == "goodbye":
        return FAREWELL
    before = reduce(listen, told[:-1], Booking())
    visit = listen(before, told[-1])
    if visit.missing:
        new, stuck = visit.wish != before.wish, visit.missing == before.missing
        heard = "Of course." if new else "Sorry?" if stuck else "Lovely."
        return f"{TOPICS[topic][1] if topic in INFORMING else heard} {QUESTIONS[visit.missing]}"
    if visit.wish:
        return done(visit)
    return (
        TOPICS[topic][1] if topic else f"Let me note that down: {mirrored(told[-1])}. Is there anything else?"
    )


def listen(visit: Booking, said: str) -> Booking:
    """What is known once the caller has said this too. A wish that has all it needs is over."""
    asked = visit.missing
    day = (re.findall(DAY, said) or [""])[-1].capitalize()
    wish = next((wish for wish, words in WISHES.items() if re.search(words, said, re.I)), "")
    wish = wish or (visit.wish if asked else "book" if day and not visit.day else "")
    if wish != visit.wish or not asked:
        visit = Booking(wish, name=visit.name) if wish else replace(visit, wish="")
    name = re.search(NAME, said) or (asked == "name" and not topic_of(said) and re.search(JUST_A_NAME, said))
    return replace(
        visit,
        day=day or visit.day,
        time=time_in(said, asked == "time") or visit.time,
        name=(name[1].title() if name[1].islower() else name[1]) if name else visit.name,
    )


def time_in(said: str, asked: bool) -> str:
    """The first time within our hours, as one says it. A bare number counts when a time was asked for."""
    for at, past, hour, minute, half, part in re.findall(CLOCK, said):
        number = int(hour) if hour.isdecimal() else HOURS.index(hour.lower())
        late = re.search("p|noon|evening", part, re.I) if part else number < 9
        moment = (number % 12 + 12 if late else number) * 60 + int(minute or 0) + 30 * bool(half)
        moment += PAST.get(past.lower().strip(), 0)
        if (asked or at or past or minute or half or part) and 9 * 60 <= moment < 18 * 60:
            name = HOURS[(moment + 15) // 60 % 12]
            return f"{QUARTERS[moment % 60 // 15]}{name} in the {'morning' if moment < 720 else 'afternoon'}"
    return ""


def done(visit: Booking) -> str:
    if visit.wish == "forget":
        return "No problem at all. What else can I do for you?"
    day = visit.day.lower() if visit.day.startswith("To") else visit.day
    news = {
        "book": f"you are booked in for {day} at {visit.time}",
        "move": f"your appointment is now {day} at {visit.time}",
        "cancel": "your appointment is cancelled",
    }
    return f"All right, {visit.name}, {news[visit.wish]}. Is there anything else I can do?"


def mirrored(said: str) -> str:
    """The first words of the caller as we say them back, with nothing in them that is not a word."""
    words = re.findall(r"[^\W_]+(?:['’-][^\W_]+)*", said)[:12]
    return " ".join(MIRROR.get(word.lower(), word) for word in words)


def chosen(turn: Turn, topic: str) -> Tool | None:
    """The tool to call: one that is forced, said by its name, or fits the topic; always an offered one."""
    offered, choice = {tool.name: tool for tool in turn.tools}, turn.tool_choice
    if not offered or choice == "none":
        return None
    if isinstance(choice, Mapping) and (name := mapping(choice.get("function", choice)).get("name")):
        return offered.get(name)
    named = (tool for tool in turn.tools if after_name(tool, turn.said[-MAX_TEXT_LENGTH:]) is not None)
    fits = (
        offered[name] for name in TOOLS.get(topic, ((),))[0] if name in offered and reaches(offered[name])
    )
    return next(named, None) or next(fits, None) or (turn.tools[0] if choice == "required" else None)
