"""The base class of every section of the configuration file."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """One table of the file: unknown keys are errors, values are strict and immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    @property
    def variables(self) -> Iterator[tuple[str, str]]:
        """The keys that name an environment variable with a secret, each with that variable."""
        return ((key, value) for key, value in self if key.endswith("_env") and value is not None)
