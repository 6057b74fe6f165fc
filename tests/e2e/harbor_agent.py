"""Runs our agent for Harbor on a folder in place of a container, as Harbor does; started by `test_harbor`.

python harbor_agent.py FOLDER LOGS MODEL INSTRUCTION
"""

import asyncio
import json
import shutil
import subprocess
import sys
from pathlib import Path

from harbor.environments.base import ExecResult
from harbor.models.agent.context import AgentContext

from codexteam.integrations.harbor import CodexTeamAgent


class Folder:
    """A container that is a folder of this machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    async def exec(self, command: str, cwd: str | None = None) -> ExecResult:
        done = subprocess.run(
            ["sh", "-c", command], cwd=cwd or self.folder, capture_output=True, text=True, check=False
        )
        return ExecResult(return_code=done.returncode, stdout=done.stdout, stderr=done.stderr)

    async def upload_dir(self, source_dir: Path | str, target_dir: str) -> None:
        shutil.copytree(source_dir, target_dir, dirs_exist_ok=True)

    async def download_dir_with_exclusions(
        self, *, source_dir: str, target_dir: Path | str, exclude: list[str]
    ) -> None:
        shutil.copytree(source_dir, target_dir, ignore=shutil.ignore_patterns(*exclude))


def main(folder: str, logs: str, model: str, instruction: str) -> None:
    context = AgentContext()
    agent = CodexTeamAgent(logs_dir=Path(logs), model_name=model, budget="400k", arm="solo")
    place = Folder(Path(folder))
    asyncio.run(agent.setup(place))
    asyncio.run(agent.run(instruction, place, context))
    usage = {name: used.n_input_tokens for name, used in (context.model_usage or {}).items()}
    print(
        json.dumps(
            {
                "name": agent.name(),
                "version": agent.version(),
                "atif": agent.capabilities.atif,
                "input_tokens": context.n_input_tokens,
                "by_model": usage,
                "metadata": context.metadata,
            }
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
