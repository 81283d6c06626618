"""Configuration keys of Python agents."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from voicegw.settings.agent import AgentSettings
from voicegw.settings.fields import (
    TARGET_PATTERN,
)


class PythonSettings(AgentSettings):
    """A Python function or object in this process."""

    kind: Literal["python"] = Field(description="A Python function or object in this process.")
    target: Annotated[str, Field(pattern=TARGET_PATTERN)] = Field(
        description='Import path of the agent, as `"package.module:name"`.'
    )
    options: dict[str, Any] = Field(default={}, description="Keyword arguments of the class or function.")
