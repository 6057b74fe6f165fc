"""Skills: folders whose `SKILL.md` explains how to do one kind of thing. They are found as Codex 0.169 finds them.

Looked for in `.agents/skills` of each folder from the project's root to the working directory, in the project's
`.codex/skills`, in `~/.agents/skills`, in `$CODEX_HOME/skills` and in its `.system`, where Codex puts its own. The agents
see names and descriptions; a body is read when it is wanted. Two differences from Codex, on purpose: the skills of a
project that the user called untrusted are left out, and Codex's own are found but not listed, since they are about tools
that only Codex has (`$name` still gives them).
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Protocol

from codexteam.agent.front_matter import BadFrontMatter, parse_table, split_front_matter
from codexteam.config.settings import SkillOverride, SkillSettings
from codexteam.core.ids import CommitId
from codexteam.core.text import clean_line
from codexteam.ports.repo import Repo

#: Instructions longer than this are not instructions.
_LIMIT_BYTES = 4 << 20


class FileSource(Protocol):
    """Files below one folder; paths are relative to it, with `/`."""

    @property
    def root(self) -> str:
        """Where people find that folder."""
        ...

    async def paths(self, folder: str) -> Sequence[str]:
        """Return every regular file below a folder, at any depth, sorted; nothing when there is no such folder."""
        ...

    async def read(self, path: str) -> bytes | None:
        """Return a file's bytes; None when there is no such regular file, or it is far too large for instructions."""
        ...


class SkillFiles:
    """The files of one commit, which no agent can change."""

    def __init__(self, repo: Repo, commit: CommitId, *, root: str) -> None:
        self._repo = repo
        self._commit = commit
        self._root = root
        self._paths: tuple[str, ...] | None = None

    @property
    def root(self) -> str:
        """The repository's path."""
        return self._root

    async def paths(self, folder: str) -> Sequence[str]:
        """As the protocol says; names that are not UTF-8 and links are left out."""
        if self._paths is None:
            files = await self._repo.list_files(self._commit)
            self._paths = tuple(sorted(_text_paths(files)))
        prefix = f"{folder}/" if folder else ""
        return [path for path in self._paths if path.startswith(prefix)]

    async def read(self, path: str) -> bytes | None:
        """As the protocol says."""
        if path not in await self.paths(""):
            return None
        return await self._repo.read_blob(self._commit, path.encode(), limit_bytes=_LIMIT_BYTES)


def _text_paths(files: Sequence[tuple[bytes, str, str]]) -> list[str]:
    paths = []
    for raw, mode, _ in files:
        try:
            path = raw.decode()
        except UnicodeDecodeError:
            continue
        if mode in ("100644", "100755"):
            paths.append(path)
    return paths


_FILE = "SKILL.md"
_POLICY_FILE = "agents/openai.yaml"
_MAX_NAME_CHARACTERS = 64
_MAX_DESCRIPTION_CHARACTERS = 1024

#: The list is part of every request of a role.
_MAX_LIST_CHARACTERS = 8000
_MENTION = re.compile(r"\$([A-Za-z0-9_:-]+)")

_HEAD = """## Skills
A skill is a folder with instructions for one kind of work. When a task names a skill (`$name`) or fits its \
description, first read its whole SKILL.md and follow it; open the files it refers to only when it asks for them. Paths \
in it are relative to its folder. If it can't be read or followed, say so briefly and continue without it."""
_TOOL_NOTE = (
    "\nSkills marked `read_skill` are not in the workspace: read them, and the files they refer to, with that tool."
)


class SkillScope(StrEnum):
    """Whose a skill is, in the order of the list."""

    SYSTEM = "system"
    """Codex's own."""
    PROJECT = "project"
    USER = "user"


@dataclass(frozen=True, slots=True)
class Skill:
    """One skill that may be used."""

    id: str
    """What `read_skill` knows it by: its name, or its folder where several have the name."""
    name: str
    description: str
    scope: SkillScope
    folder: str
    """Relative to the source's root; empty is the root itself."""
    source: FileSource
    listed: bool = True
    """Whether it is listed for agents."""

    @property
    def path(self) -> str:
        """Where its SKILL.md is, relative to the source's root."""
        return _join(self.folder, _FILE)

    @property
    def in_workspace(self) -> bool:
        """Whether agents find its files in their workspace."""
        return self.scope is SkillScope.PROJECT


@dataclass(frozen=True, slots=True)
class Skills:
    """The skills of a role, and notices about those that can't be used."""

    skills: tuple[Skill, ...] = ()
    notices: tuple[str, ...] = ()


async def find_skills(
    settings: SkillSettings,
    *,
    project: FileSource | None,
    folders: Sequence[str],
    codex_home: FileSource,
    user_home: FileSource,
    trusted: bool | None,
) -> Skills:
    """Find the skills that may be used.

    Args:
        settings: What is switched on and off.
        project: The base commit, so that no agent can change its own instructions; None outside a repository.
        folders: What `project_docs.folder_chain` gave.
        codex_home: `$CODEX_HOME`.
        user_home: The user's home.
        trusted: The project's trust.
    """
    places: list[tuple[SkillScope, FileSource, str]] = []
    if settings.bundled_enabled:
        places.append((SkillScope.SYSTEM, codex_home, "skills/.system"))
    if project is not None and trusted is not False:
        places += [(SkillScope.PROJECT, project, _join(folder, ".agents/skills")) for folder in folders]
        places += [(SkillScope.PROJECT, project, _join(folders[0], ".codex/skills"))]
    places += [(SkillScope.USER, codex_home, "skills"), (SkillScope.USER, user_home, ".agents/skills")]
    found: dict[str, Skill] = {}
    notices: list[str] = []
    for scope, source, place in places:
        paths = await source.paths(place)
        for path in _skill_files(paths, place):
            where = f"{source.root.rstrip('/')}/{path}"
            if where in found:
                continue
            skill = await _read_skill(scope, source, path, has_policy=_policy_path(path) in paths)
            if isinstance(skill, Skill):
                found[where] = skill
            else:
                notices.append(f"skill {clean_line(where)} was skipped: {clean_line(skill)}")
    usable = [skill for where, skill in found.items() if _is_enabled(skill, where, settings.overrides)]
    order = list(SkillScope)
    usable.sort(key=lambda skill: (order.index(skill.scope), skill.name, skill.path))
    return Skills(_with_ids(usable), tuple(notices))


def render_skill_list(skills: Iterable[Skill]) -> str:
    """Return the instructions with names and descriptions; empty when none is listed. The same for the same skills."""
    listed = [skill for skill in skills if skill.listed]
    if not listed:
        return ""
    limit = _MAX_DESCRIPTION_CHARACTERS
    lines = [_line(skill, limit) for skill in listed]
    while sum(map(len, lines)) > _MAX_LIST_CHARACTERS and limit > 20:
        limit = limit * 2 // 3
        lines = [_line(skill, limit) for skill in listed]
    while sum(map(len, lines)) > _MAX_LIST_CHARACTERS:
        lines.pop()
    left_out = len(listed) - len(lines)
    tail = [f"- and {left_out} more, by name only if asked for"] if left_out else []
    note = "" if all(skill.in_workspace for skill in listed) else _TOOL_NOTE
    return "\n".join(
        [f"<skills_instructions>\n{_HEAD}{note}\n### Available skills", *lines, *tail, "</skills_instructions>"]
    )


def mentioned_skills(text: str, skills: Sequence[Skill]) -> tuple[Skill, ...]:
    """Return the skills that a text asks for with `$name`; a name that several have asks for none of them."""
    names = set(_MENTION.findall(text)) | {name.rstrip(":-") for name in _MENTION.findall(text)}
    return tuple(
        skill for skill in skills if skill.name in names and sum(other.name == skill.name for other in skills) == 1
    )


async def render_skill_body(skill: Skill) -> str:
    """Return a skill that was asked for, whole, as a message; empty when it is gone."""
    data = await skill.source.read(skill.path)
    if data is None:
        return ""
    body = data.decode(errors="replace")
    return f"<skill>\n<name>{skill.name}</name>\n<path>{_shown_path(skill)}</path>\n{body}\n</skill>"


def _skill_files(paths: Sequence[str], place: str) -> list[str]:
    prefix = f"{place}/"
    return [
        path
        for path in paths
        if path.rpartition("/")[2] == _FILE
        # what begins with a dot is hidden, Codex's own folder from the user's skills too
        and not any(part.startswith(".") for part in path.removeprefix(prefix).split("/"))
    ]


async def _read_skill(scope: SkillScope, source: FileSource, path: str, *, has_policy: bool) -> Skill | str:
    data = await source.read(path)
    if data is None:
        return "it can't be read"
    try:
        head = split_front_matter(data.decode())
    except UnicodeDecodeError as error:
        return f"it is not UTF-8 (byte {error.start})"
    if head is None:
        return "it has no front matter between two lines `---` at its start"
    table = parse_table(head)
    if isinstance(table, BadFrontMatter):
        return f"its front matter can't be read: {table.message}"
    folder = path.rpartition("/")[0]
    texts: dict[str, str] = {}
    for key in ("name", "description"):
        value = table.get(key, "")
        if not isinstance(value, str) and value is not None:
            return f"its `{key}` must be a text"
        texts[key] = " ".join((value or "").split())
    name = texts["name"] or folder.rpartition("/")[2]
    if len(name) > _MAX_NAME_CHARACTERS:
        return f"its `name` has {len(name)} characters; {_MAX_NAME_CHARACTERS} are allowed"
    if not texts["description"]:
        return "its front matter has no `description`"
    listed = scope is not SkillScope.SYSTEM and not (has_policy and await _is_hidden(source, _policy_path(path)))
    return Skill(name, name, texts["description"][:_MAX_DESCRIPTION_CHARACTERS], scope, folder, source, listed)


def _policy_path(path: str) -> str:
    return _join(path.rpartition("/")[0], _POLICY_FILE)


async def _is_hidden(source: FileSource, path: str) -> bool:
    data = await source.read(path)
    table = parse_table((data or b"").decode(errors="replace"))
    policy = None if isinstance(table, BadFrontMatter) else table.get("policy")
    allowed = policy.get("allow_implicit_invocation") if isinstance(policy, dict) else None
    return isinstance(allowed, str) and allowed.lower() == "false"


def _is_enabled(skill: Skill, where: str, overrides: Sequence[SkillOverride]) -> bool:
    enabled = True
    for override in overrides:
        path = str(override.path) if override.path is not None else None
        if override.name == skill.name or path in (where, where.removesuffix(f"/{_FILE}")):
            enabled = override.enabled
    return enabled


def _with_ids(skills: Sequence[Skill]) -> tuple[Skill, ...]:
    names = [skill.name for skill in skills]
    return tuple(
        skill if names.count(skill.name) == 1 else replace(skill, id=skill.folder or skill.name) for skill in skills
    )


def _line(skill: Skill, limit: int) -> str:
    description = skill.description if len(skill.description) <= limit else f"{skill.description[: limit - 3]}..."
    return f"- {skill.name}: {description} ({_shown_path(skill)})"


def _shown_path(skill: Skill) -> str:
    return f"file: {skill.path}" if skill.in_workspace else f"read_skill: {skill.id}"


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name
