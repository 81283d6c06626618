"""The base class of every section of the configuration file."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A table of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    @property
    def variables(self) -> Iterator[tuple[str, str]]:
        """The environment variables that hold its secrets, by key."""
        return ((key, value) for key, value in self if key.endswith("_env") and value is not None)
