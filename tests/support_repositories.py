"""Small repositories for tests: files by path."""

from collections.abc import Mapping

from codexteam.environment.detection import DetectionInput, detect
from codexteam.environment.documents import Documents
from codexteam.environment.plan import SetupPlan
from codexteam.environment.repository_view import RepositoryView


def repository(files: Mapping[str, str]) -> RepositoryView:
    texts = {path: text.encode() for path, text in files.items()}
    return RepositoryView(texts.get, sorted(texts))


def documents(files: Mapping[str, str]) -> Documents:
    return Documents(repository(files))


def plan_of(files: Mapping[str, str], given: DetectionInput | None = None) -> SetupPlan:
    return detect(repository(files), given)[0]


def commands(plan: SetupPlan) -> str:
    """All steps as one text."""
    return "\n".join(step.command for step in plan.needs.steps)


def step_with(plan: SetupPlan, word: str) -> str:
    """The one command that holds a word."""
    return next(step.command for step in plan.needs.steps if word in step.command)


def gates(plan: SetupPlan) -> list[str]:
    return [test.command for test in plan.needs.test_commands]
