"""`codexteam index`: the map of the code for people, of a commit of their own repository, without a run."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from codexteam.app.project import Project
from codexteam.config.settings import MapSettings, Settings
from codexteam.core.ids import CommitId
from codexteam.errors import UsageError
from codexteam.ports.symbol_index import CodeMatch, CodePart, CodeSource, IndexSize, SymbolIndex
from codexteam.run.code_map import CodeMap, chosen_for
from codexteam.run.map_ranking import RankedPart

#: A person who asks for an index waits for it.
_WAIT_SECONDS = 86_400.0


def index_path(state_dir: Path) -> Path:
    """Return the file of a repository's index: a cache, made again whenever it is missing."""
    return state_dir / "code-map.sqlite3"


def open_index(state_dir: Path) -> SymbolIndex:
    """Return a repository's index. Closed by the caller."""
    from codexteam.adapters.code_map.sqlite_index import SqliteSymbolIndex

    return SqliteSymbolIndex(index_path(state_dir))


def make_code_map(source: CodeSource, index: SymbolIndex, settings: MapSettings, *, wait_seconds: float) -> CodeMap:
    """Return a map over an index. Closed by the caller, before the index."""
    return CodeMap(source, index, max_files=settings.max_files, wait_seconds=wait_seconds)


@dataclass(frozen=True, slots=True)
class CodeQuestion:
    """What a person wants to know; at most one of the first four is set."""

    about: str = ""
    """A goal: gives a map."""
    text: str = ""
    symbol: str = ""
    pattern: str = ""
    under: str = ""
    tokens: int | None = None
    revision: str = "HEAD"


@dataclass(frozen=True, slots=True)
class CodeAnswer:
    """What was found, and what the index holds."""

    commit: CommitId
    files: int
    """Files of the commit that are in the index."""
    total: int
    size: IndexSize
    path: Path
    ranked: tuple[RankedPart, ...] = ()
    parts: tuple[CodePart, ...] = ()
    used: tuple[CodePart, ...] = ()
    matches: tuple[CodeMatch, ...] = ()


def look_at_code(project: Project, settings: Settings, question: CodeQuestion) -> CodeAnswer:
    """Bring the index up to date with a commit, and answer.

    Raises:
        UsageError: there is no such commit, or the pattern cannot be used.
        StoreError: the index cannot be read or written.
    """
    if not settings.team.map.enabled:
        raise UsageError("the index of the code is switched off", hint="codexteam -c codexteam.map.enabled=true index")
    return asyncio.run(_look(project, settings.team.map, question))


@asynccontextmanager
async def _opened(
    project: Project, settings: MapSettings, revision: str
) -> AsyncIterator[tuple[CodeMap, SymbolIndex, CommitId]]:
    from codexteam.adapters.git.committed_files import CommittedFiles

    async with AsyncExitStack() as stack:
        files = CommittedFiles(project.places.git_dir, project.environment)
        stack.callback(files.close)
        commit = files.find(revision)
        index = open_index(project.state_dir)
        stack.push_async_callback(index.close)
        code = make_code_map(files, index, settings, wait_seconds=_WAIT_SECONDS)
        stack.push_async_callback(code.close)
        yield code, index, commit


async def _look(project: Project, settings: MapSettings, question: CodeQuestion) -> CodeAnswer:
    async with _opened(project, settings, question.revision) as (code, index, commit):
        tree = await code.tree(commit, question.about)
        ranked: list[RankedPart] = []
        parts: list[CodePart] = []
        used: list[CodePart] = []
        matches: list[CodeMatch] = []
        if question.about:
            tokens = settings.tokens if question.tokens is None else question.tokens
            ranked = chosen_for(await code.ranked(tree, question.about), tokens=tokens)
        elif question.text:
            parts = await code.find_text(commit, question.text, under=question.under)
        elif question.symbol:
            parts, used = await code.find_symbol(commit, question.symbol, under=question.under)
        elif question.pattern:
            found = await code.find_pattern(commit, question.pattern, under=question.under)
            if isinstance(found, str):
                raise UsageError(f"the pattern cannot be used: {found}")
            matches = found
        answered = (tuple(ranked), tuple(parts), tuple(used), tuple(matches))
        known = tree.total - tree.waiting
        return CodeAnswer(commit, known, tree.total, await index.size(), index_path(project.state_dir), *answered)
