"""What all agents of a run read before their task: AGENTS.md and skills, taken from the base commit and the user's home."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from codexteam.agent.project_docs import folder_chain, load_project_docs
from codexteam.agent.skills import (
    FileSource,
    Skill,
    find_skills,
    mentioned_skills,
    render_skill_body,
    render_skill_list,
)
from codexteam.config.settings import RoleSettings, Settings
from codexteam.ports.sandbox import WORKSPACE


@dataclass(frozen=True, slots=True)
class InstructionSources:
    """Where instructions are read from."""

    project: FileSource
    """The base commit, so that no agent can change its own instructions."""
    codex_home: FileSource
    user_home: FileSource
    folder: str = ""
    """The folder that the command was started in, relative to the repository's root."""
    repositories: tuple[str, ...] = ()
    """Folders that are repositories of their own: the documents of each count."""


@dataclass(frozen=True, slots=True)
class RunInstructions:
    """The instructions of one run; the same for every agent of a role."""

    docs: str
    docs_sources: tuple[str, ...]
    sources: InstructionSources
    folders: tuple[str, ...]
    notices: tuple[str, ...]

    async def skills_of(self, role: RoleSettings, settings: Settings) -> tuple[Skill, ...]:
        """Return the skills that a role's agents may use."""
        found = await find_skills(
            role.skills,
            project=self.sources.project,
            folders=self.folders,
            codex_home=self.sources.codex_home,
            user_home=self.sources.user_home,
            trusted=settings.trusted,
        )
        return found.skills


async def load_instructions(settings: Settings, sources: InstructionSources) -> RunInstructions:
    """Read what counts, once for a run."""
    paths = frozenset(await sources.project.paths(""))
    folders_there = _folders_of(paths)
    chain = folder_chain(
        sources.folder, settings.project_doc.root_markers, lambda path: path in paths or path in folders_there
    )

    async def read(path: str) -> bytes | None:
        data = await sources.project.read(path)
        name = path.split("/", maxsplit=1)[0]
        if not data or name not in sources.repositories:
            return data
        return f"In {name}/:\n\n".encode() + data

    docs = await load_project_docs(
        settings.project_doc,
        folders=(*sources.repositories, *chain),
        trusted=settings.trusted,
        read_project=read,
        read_home=sources.codex_home.read,
        workspace=WORKSPACE,
    )
    return RunInstructions(docs.text, docs.sources, sources, chain, docs.notices)


def _folders_of(paths: Iterable[str]) -> set[str]:
    """Return all folders that these files are in; the root is `.`."""
    found = {"."}
    for path in paths:
        folder = path.rpartition("/")[0]
        while folder and folder not in found:
            found.add(folder)
            folder = folder.rpartition("/")[0]
    return found


async def skill_facts(role: RoleSettings, skills: Sequence[Skill], task: str) -> tuple[str, ...]:
    """Return the facts about skills: their list, and the bodies of those that the task names with `$`."""
    listed = render_skill_list(skills) if role.skills.include_instructions else ""
    bodies = [await render_skill_body(skill) for skill in mentioned_skills(task, skills)]
    return tuple(text for text in (listed, *bodies) if text)
