"""Part of a stand-in for Harbor."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from harbor.agents.capabilities import AgentCapabilities
from harbor.environments.base import BaseEnvironment
from harbor.models.agent.context import AgentContext


class BaseAgent(ABC):
    """What every agent is; Harbor makes it with the folder for its logs and the model's name."""

    capabilities = AgentCapabilities()

    def __init__(self, logs_dir: Path, model_name: str | None = None, **kwargs: Any) -> None:
        if kwargs:
            raise TypeError(f"unexpected: {', '.join(kwargs)}")
        self.logs_dir = logs_dir
        self.model_name = model_name

    @staticmethod
    @abstractmethod
    def name() -> str: ...

    @abstractmethod
    def version(self) -> str | None: ...

    @abstractmethod
    async def setup(self, environment: BaseEnvironment) -> None: ...

    @abstractmethod
    async def run(self, instruction: str, environment: BaseEnvironment, context: AgentContext) -> None: ...
