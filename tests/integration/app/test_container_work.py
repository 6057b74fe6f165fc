"""A container's files are worked on here and put back: what changed, and nothing else."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from codexteam.adapters.git.eval_repository import EvalRepository
from codexteam.app.evaluation.container_work import ContainerOrder, arm_of, budget_of, work_in_container
from codexteam.app.evaluation.trial_runs import WantedRun
from codexteam.core.eval_trials import RanCandidate, TrialKey, TrialSpend
from codexteam.errors import UsageError


class Container:
    """A folder for a container's files, and what was run in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ran: list[tuple[str, str]] = []

    async def fetch(self, folder: str, target: Path, left_alone: tuple[str, ...]) -> None:
        assert ".git" in left_alone
        for file in self.folder.rglob("*"):
            if file.is_symlink():
                place = target / file.relative_to(self.folder)
                place.symlink_to(file.readlink())
            elif file.is_file():
                place = target / file.relative_to(self.folder)
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(file.read_bytes())
                place.chmod(file.stat().st_mode)

    async def write(self, source: Path, folder: str) -> None:
        for file in source.rglob("*"):
            if file.is_file():
                place = self.folder / file.relative_to(source)
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(file.read_bytes())

    async def run(self, command: str, folder: str) -> str:
        self.ran.append((command, folder))
        return "/app\n" if command == "pwd" else ""


class Worked:
    """A run that leaves given files."""

    def __init__(self, folder: Path, files: Mapping[str, bytes], removed: tuple[str, ...] = ()) -> None:
        self._folder = folder
        self._files = files
        self._removed = removed
        self.seen: list[str] = []

    def place(self, key: TrialKey, candidate: int) -> Path:
        return self._folder / str(candidate)

    def signal(self, number: int) -> None:
        pass

    async def pause(self, seconds: float) -> None:
        raise AssertionError(seconds)

    async def run(self, wanted: WantedRun) -> RanCandidate:
        repository = EvalRepository(self.place(wanted.key, 1), None)
        repository.make()
        base = repository.take_commit(*wanted.base)
        self.seen = repository.paths(base)
        work = repository.commit(base, self._files, removed=self._removed, executable=["new.sh"], message="work")
        return RanCandidate("", 0, work, TrialSpend())


async def test_what_changed_is_put_back_and_nothing_else(tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    (inside / ".git").mkdir(parents=True)
    (inside / ".git" / "config").write_text("[core]\n\thooksPath = /evil\n")
    for name in ("a.py", "old.txt", "same.txt"):
        (inside / name).write_text(name)
    (inside / "link").symlink_to("/etc/passwd")
    container = Container(inside)
    runs = Worked(tmp_path / "runs", {"a.py": b"changed", "new.sh": b"echo"}, ("old.txt",))

    done = await work_in_container(container, ContainerOrder("goal", tmp_path, arm_of("solo", "openai/m", "")), runs)

    assert runs.seen == ["a.py", "old.txt", "same.txt"]  # neither what git keeps, nor where a link leads
    assert done.changed == 3
    assert (inside / "a.py").read_text() == "changed"
    assert container.ran == [("pwd", ""), ("rm -f -- old.txt", "/app"), ("chmod +x -- new.sh", "/app")]


async def test_a_run_that_left_nothing_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside" / "a.py").write_text("x")
    container = Container(tmp_path / "inside")
    runs = Worked(tmp_path / "runs", {})

    order = ContainerOrder("goal", tmp_path, arm_of("team", None, "-p mine"), folder="/srv/x")
    done = await work_in_container(container, order, runs)

    assert (done.changed, container.ran, json.dumps(done.trajectory)) == (0, [], "{}")


def test_what_harbor_is_told_is_read_or_refused() -> None:
    assert arm_of("team", "openai/gpt-5.4", "-p x").options == ("-p", "x", "-m", "gpt-5.4")
    assert budget_of("5usd") == {"usd": 5.0}
    with pytest.raises(UsageError, match="team and solo"):
        arm_of("crowd", None, "")
    with pytest.raises(UsageError, match="budget=5"):
        budget_of("5")
