"""The agents that the gateway serves, and which of them answers for a model's name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from voicegw.errors import UnknownModel
from voicegw.events import models_of
from voicegw.security.keys import Key
from voicegw.turns.served_agent import Line


class AgentRegistry:
    """Every served agent by name; the first one is the default.

    With `strict`, a model name that no agent has is refused instead of answered by the key's first agent.
    """

    def __init__(self, agents: Mapping[str, Line], *, strict: bool = False) -> None:
        self.agents = agents
        self.strict = strict

    def names_for(self, key: Key) -> list[str]:
        """Return the names by which a key may ask: its agents, the default one first, then their models."""
        names = [name for name in self.agents if key.opens(name)]
        return [*names, *(model for model in self._models(names) if model not in names)]

    def resolve(self, model: str, key: Key) -> Line:
        """Return the agent that answers for a model's name, "" for none.

        Raises `UnknownModel` where the key opens no agent, for an agent that the key does not open, and with
        `strict` for a name that no agent has.
        """
        names = [name for name in self.agents if key.opens(name)]
        if model in names:
            return self.agents[model]
        if model not in self.agents and (found := self._models(names).get(model)):
            return found
        if not names or (model and self.strict) or model in self.agents:
            raise UnknownModel(
                f"The model '{model}' does not exist or you do not have access to it.", param="model"
            )
        return self.agents[names[0]]

    def _models(self, names: Sequence[str]) -> dict[str, Line]:
        """Return the further models that these agents answer for; of two agents with one, the first."""
        found: dict[str, Line] = {}
        for name in names:
            for model in models_of(self.agents[name].agent):
                found.setdefault(model, self.agents[name])
        return found
