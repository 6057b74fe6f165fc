"""The files that let a pipeline's system run codexteam: workflows for GitHub and what they use."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from codexteam.config.locations import bundled_file
from codexteam.config.starter import StarterFile
from codexteam.errors import UsageError

#: GitHub's own actions, each at the commit of a release; no other action is used.
_ACTIONS: Final = {
    "CHECKOUT": "actions/checkout@3d3c42e5aac5ba805825da76410c181273ba90b1 # v7.0.1",
    "UPLOAD": "actions/upload-artifact@043fb46d1a93c77aae656e7c1c64a875d1fc6a0a # v7.0.1",
    "DOWNLOAD": "actions/download-artifact@3e5f45b2cfb9172054b4087a40e8e0b5a5461e7c # v8.0.1",
}
_WORKFLOWS: Final = ("codexteam-plan.yml", "codexteam-run.yml")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class PipelineWanted:
    """What the files are to say."""

    budget: str
    """The limit of each job, as `--budget` takes it."""
    package: str
    """What pip installs."""
    key: str = "OPENAI_API_KEY"
    """The variable, and the system's secret, with the model's key."""


def github_files(wanted: PipelineWanted) -> tuple[StarterFile, ...]:
    """Return the workflows and the action that they use, relative to a repository's root.

    Raises:
        UsageError: a value cannot stand in such a file.
    """
    values = {**_ACTIONS, **_values(wanted)}
    action = StarterFile(".github/actions/codexteam/action.yml", bundled_file("action.yml").read_text(encoding="utf-8"))
    workflows = [
        StarterFile(f".github/workflows/{name}", _filled(_template(f"github/{name}"), values)) for name in _WORKFLOWS
    ]
    return (action, *workflows)


def gitlab_files(wanted: PipelineWanted) -> tuple[StarterFile, ...]:
    """Return the jobs that a repository's `.gitlab-ci.yml` includes, relative to its root.

    Raises:
        UsageError: a value cannot stand in such a file.
    """
    # GitLab replaces variables in values too
    values = {name: value.replace("$", "$$") for name, value in _values(wanted).items()}
    return (StarterFile(".gitlab/codexteam.yml", _filled(_template("gitlab/codexteam.yml"), values)),)


def _values(wanted: PipelineWanted) -> dict[str, str]:
    if not _VARIABLE.fullmatch(wanted.key):
        raise UsageError(
            f"--key {wanted.key!r}: it is not the name of a variable; allowed are letters, digits and _",
            hint="for example OPENAI_API_KEY, and put the key itself into the secret of that name",
        )
    for name, value in (("--package", wanted.package), ("--budget", wanted.budget)):
        if not value.strip() or not value.isprintable() or "${{" in value:
            raise UsageError(f"{name} {value!r}: it cannot stand in a workflow", hint="give one line of plain text")
    # JSON's strings are YAML's
    return {"PACKAGE": json.dumps(wanted.package), "BUDGET": json.dumps(wanted.budget), "KEY": wanted.key}


def _filled(text: str, values: dict[str, str]) -> str:
    return re.sub(r"@([A-Z]+)@", lambda found: values[found[1]], text)


def _template(name: str) -> str:
    return (Path(__file__).parent / "pipelines" / name).read_text(encoding="utf-8")
