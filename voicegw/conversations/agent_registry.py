"""The agents that the gateway serves, and which of them answers for a model's name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from voicegw.errors import ModelNotFound
from voicegw.events import extra_models
from voicegw.security.keys import ApiKey
from voicegw.turns.served_agent import ServedAgent


class AgentRegistry:
    """Every served agent by name; the first one is the default.

    With `strict`, a model name that no agent has is refused instead of answered by the key's first agent.
    """

    def __init__(self, agents: Mapping[str, ServedAgent], *, strict: bool = False) -> None:
        self.agents = agents
        self.strict = strict

    def names_for(self, key: ApiKey) -> list[str]:
        """Return the names by which a key may ask: its agents, the default one first, then their models."""
        names = [name for name in self.agents if key.allows(name)]
        return [*names, *(model for model in self._models(names) if model not in names)]

    def resolve(self, model: str, key: ApiKey) -> ServedAgent:
        """Return the agent that answers for a model's name, "" for none.

        Raises `ModelNotFound` where the key opens no agent, for an agent that the key does not open, and with
        `strict` for a name that no agent has.
        """
        names = [name for name in self.agents if key.allows(name)]
        if model in names:
            return self.agents[model]
        if model not in self.agents and (found := self._models(names).get(model)):
            return found
        if not names or (model and self.strict) or model in self.agents:
            raise ModelNotFound(
                f"The model '{model}' does not exist or you do not have access to it.", param="model"
            )
        return self.agents[names[0]]

    def _models(self, names: Sequence[str]) -> dict[str, ServedAgent]:
        """Return the further models that these agents answer for; of two agents with one, the first."""
        found: dict[str, ServedAgent] = {}
        for name in names:
            for model in extra_models(self.agents[name].agent):
                found.setdefault(model, self.agents[name])
        return found
