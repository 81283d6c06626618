"""The public API of agents in Python: an agent receives a `Turn` and yields events (`voicegw.events`)."""

from voicegw.events import Activity, Agent, Event, Finish, Message, Tool, ToolCall, Turn, Usage

__version__ = "0.1.0"

__all__ = ["Activity", "Agent", "Event", "Finish", "Message", "Tool", "ToolCall", "Turn", "Usage"]
