"""voicegw puts any agent on the phone, with nobody waiting in silence.

What an in-process agent needs is here: a `Turn` comes in, events go out.
"""

from voicegw.events import Activity, Agent, Event, Finish, Message, Tool, ToolCall, Turn, Usage

__version__ = "0.1.0"

__all__ = ["Agent", "Activity", "Event", "Finish", "Message", "Tool", "ToolCall", "Turn", "Usage"]
