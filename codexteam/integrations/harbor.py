"""The agent for Harbor: `harbor run -a codexteam.integrations.harbor:CodexTeamAgent -p TASK`.

Only Harbor imports this module, which needs it. `--ak` gives options: `budget=5usd`, `minutes=30`, `arm=solo`,
`workdir=/app`, `options=-p PROFILE`.
"""

from pathlib import Path
from typing import Any

from harbor.agents.base import BaseAgent
from harbor.agents.capabilities import AgentCapabilities
from harbor.environments.base import BaseEnvironment
from harbor.models.agent.context import AgentContext, ModelUsage

from codexteam import __version__
from codexteam.app.evaluation.container_work import (
    ContainerOrder,
    ContainerResult,
    arm_of,
    budget_of,
    work_in_container,
)
from codexteam.errors import SurroundingsError
from codexteam.report.atif import tokens_by_model


class CodexTeamAgent(BaseAgent):  # type: ignore[misc]  # Harbor is not there where types are checked
    """Runs codexteam on this machine on the files of Harbor's container, and writes back what it changed."""

    capabilities = AgentCapabilities(atif=True)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Take Harbor's arguments, and ours beside them."""
        own = {name: kwargs.pop(name, None) for name in ("budget", "minutes", "arm", "workdir", "options")}
        super().__init__(*args, **kwargs)
        self._arm = arm_of(str(own["arm"] or "team"), self.model_name, str(own["options"] or ""))
        self._budget = budget_of(str(own["budget"])) if own["budget"] else None
        self._seconds = float(own["minutes"]) * 60 if own["minutes"] else None
        self._workdir = str(own["workdir"] or "")

    @staticmethod
    def name() -> str:
        """Return the agent's name."""
        return "codexteam"

    def version(self) -> str:
        """Return the program's version."""
        return __version__

    async def setup(self, environment: BaseEnvironment) -> None:
        """Install nothing: what works is on this machine."""

    async def run(self, instruction: str, environment: BaseEnvironment, context: AgentContext) -> None:
        """Do the task.

        Raises:
            SurroundingsError: the run could not work.
        """
        order = ContainerOrder(instruction, Path(self.logs_dir), self._arm, self._workdir, self._budget, self._seconds)
        done = await work_in_container(_Container(environment), order)
        _report(context, done)
        if done.ran.exit_code in {1, 2, 6}:
            raise SurroundingsError(f"codexteam ended with exit code {done.ran.exit_code}: {done.ran.reason}")


class _Container:
    def __init__(self, environment: BaseEnvironment) -> None:
        self._environment = environment

    async def fetch(self, folder: str, target: Path, left_alone: tuple[str, ...]) -> None:
        await self._environment.download_dir_with_exclusions(
            source_dir=folder, target_dir=target, exclude=list(left_alone)
        )

    async def write(self, source: Path, folder: str) -> None:
        await self._environment.upload_dir(source, folder)

    async def run(self, command: str, folder: str) -> str:
        done = await self._environment.exec(command, cwd=folder or None)
        if done.return_code != 0:
            said = (done.stderr or done.stdout or "").strip()
            raise SurroundingsError(f"in the container `{command}` ended with {done.return_code}: {said}")
        return done.stdout or ""


def _report(context: AgentContext, done: ContainerResult) -> None:
    """Tell Harbor what it took, sub-agents included."""
    by_model = tokens_by_model(done.trajectory)
    context.model_usage = {
        model: ModelUsage(
            n_input_tokens=used["prompt"], n_cache_tokens=used["cached"], n_output_tokens=used["completion"],
            cost_usd=used["usd"],
        )
        for model, used in by_model.items()
    }  # fmt: skip
    context.n_input_tokens = sum(one.n_input_tokens for one in context.model_usage.values())
    context.n_cache_tokens = sum(one.n_cache_tokens for one in context.model_usage.values())
    context.n_output_tokens = sum(one.n_output_tokens for one in context.model_usage.values())
    context.cost_usd = done.ran.spend.usd
    context.metadata = {
        "run": done.ran.run_id,
        "exit_code": done.ran.exit_code,
        "reason": done.ran.reason,
        "changed_files": done.changed,
        "commit": done.ran.commit,
    }
