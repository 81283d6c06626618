"""The agents that the gateway serves, and the choice of one by a model's name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from voicegw.errors import ModelNotFound
from voicegw.events import extra_models
from voicegw.security.keys import ApiKey
from voicegw.turns.served_agent import ServedAgent


class AgentRegistry:
    """All served agents by name. The first one is the default."""

    def __init__(self, agents: Mapping[str, ServedAgent], *, strict: bool = False) -> None:
        # The agents by name, in the order of the configuration.
        self.by_name = agents
        # True: refuse a model name that no agent has. False: the key's first agent answers for it.
        self.strict = strict

    def names_for(self, key: ApiKey) -> list[str]:
        """Return the models that a key may use: its agents, the default first, then their extra models."""
        names = [name for name in self.by_name if key.allows(name)]
        return [*names, *(model for model in self._extra_models(names) if model not in names)]

    def resolve(self, model: str, key: ApiKey) -> ServedAgent:
        """Return the agent that answers for a model name; "" stands for the key's first agent.

        Raise `ModelNotFound` if the key allows no agent, if it does not allow the named agent, or, with
        `strict`, if no agent has that name.
        """
        names = [name for name in self.by_name if key.allows(name)]
        if model in names:
            return self.by_name[model]
        if model not in self.by_name and (found := self._extra_models(names).get(model)):
            return found
        if not names or (model and self.strict) or model in self.by_name:
            raise ModelNotFound(
                f"The model '{model}' does not exist or you do not have access to it.", param="model"
            )
        return self.by_name[names[0]]

    def _extra_models(self, names: Sequence[str]) -> dict[str, ServedAgent]:
        """Return the extra models of these agents. If two agents have the same one, the first answers."""
        found: dict[str, ServedAgent] = {}
        for name in names:
            for model in extra_models(self.by_name[name].agent):
                found.setdefault(model, self.by_name[name])
        return found
