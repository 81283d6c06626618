"""The tools that the agent "trip" calls, its answer after them, and the object of the agent "structured"."""

from __future__ import annotations

from pydantic import BaseModel

QUESTION = "Where is the sun?"
HISTORY = (
    f"user[]({QUESTION}) assistant[call_0,call_1](Let me look.) tool[call_0](Paris: rain) "
    "tool[call_1](Rome: sun) assistant[call_2]() tool[call_2](Rome, ticket 7)"
)
ANSWER = f"Booked Rome, ticket 7. {HISTORY}"
"""The last answer, if the history began with the question."""
FIRST_WORDS = "Let me look. "
"""The words before the first tool calls."""


class Answer(BaseModel):
    """The object that the agent "structured" answers with."""

    city: str
    degrees: int


ROME = Answer(city="Rome", degrees=21)


def weather(city: str) -> str:
    """Return the weather of a city."""
    return {"Paris": "Paris: rain", "Rome": "Rome: sun"}[city]


def book(city: str) -> str:
    """Book a journey to a city."""
    return f"{city}, ticket 7"


TOOLS = {"weather": weather, "book": book}
"""The tools by name, as the clients of this folder declare them."""
