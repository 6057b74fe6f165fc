"""The map of a commit's code: what a text is about, as definitions with their lines, under a budget of tokens.

The index behind it is kept by content: a commit costs the files in it that no commit before had.
"""

import asyncio
import re
from collections import defaultdict
from collections.abc import Sequence

from codexteam.core.code_words import names_in, path_scores, search_words
from codexteam.core.ids import CommitId
from codexteam.core.paths import show
from codexteam.core.text import clean_line
from codexteam.ports.symbol_index import CodeFile, CodeMatch, CodePart, CodeSource, IndexedTree, SymbolIndex
from codexteam.run.map_ranking import MOST_FILE_BYTES, MOST_MATCHES, MOST_WORDS, MapRanking, RankedPart, own_texts
from codexteam.system.cancellation import stopped, together

#: Files that are written at once, and how often at the same time.
_BATCH = 100
_AT_ONCE = 4
#: Files that are read to see who uses a name.
_MOST_READ_FILES = 120
_BYTES_PER_TOKEN = 4
#: Commits whose files are held in memory: as they were taken in, and as git lists them.
_KEPT_TREES = 8
_LISTED_COMMITS = 2
_MOST_PATTERN_FILES = 1_500

_REGULAR = frozenset({"100644", "100755"})


class CodeMap:
    """Answers what is where in the code, by commit."""

    def __init__(self, source: CodeSource, index: SymbolIndex, *, max_files: int, wait_seconds: float) -> None:
        """Take the repository and the index, which stay their owners' to close.

        Args:
            source: gives files and their bytes.
            index: keeps what is known of them.
            max_files: of a larger repository the files that a text names best are looked at first, and no more than these.
            wait_seconds: how long who asks waits for what nobody has looked at yet.
        """
        self._source = source
        self._index = index
        self._max_files = max_files
        self._wait_seconds = wait_seconds
        self._turn = asyncio.Lock()
        self._looked = False
        self._updates: dict[CommitId, asyncio.Task[IndexedTree]] = {}
        self._listed: dict[CommitId, list[CodeFile]] = {}

    def begin(self, commit: CommitId, about: str = "") -> None:
        """Begin to take in what a commit has that no commit before it had; what `about` names first."""
        _ = self._update(commit, about)

    def _update(self, commit: CommitId, about: str) -> "asyncio.Task[IndexedTree]":
        for old in [each for each, update in self._updates.items() if update.done()][:-_KEPT_TREES]:
            del self._updates[old]
        known = self._updates.get(commit)
        if known is None or (known.done() and (known.cancelled() or known.exception() is not None)):
            self._updates[commit] = known = asyncio.create_task(
                self._take_in(commit, about), name=f"index {commit[:12]}"
            )
        return known

    async def tree(self, commit: CommitId, about: str = "") -> IndexedTree:
        """Return what is known of a commit: all of it, or what there is after the time that one waits for it."""
        update = self._update(commit, about)
        await asyncio.wait((update,), timeout=self._wait_seconds)
        return update.result() if update.done() else await self._index.tree(await self._files(commit))

    async def _take_in(self, commit: CommitId, about: str) -> IndexedTree:
        files = await self._files(commit)
        async with self._turn:
            if not self._looked:
                self._looked = True
                await self._index.drop_old(files)
            missing = await self._index.missing(files)
            if len(missing) > _BATCH and about:
                scores = path_scores([file.path for file in missing], search_words(about, most=MOST_WORDS), about)
                missing.sort(key=lambda file: -scores.get(file.path, 0.0))
            room = max(0, self._max_files - (len(files) - len(missing)))
            batches = [
                missing[start : min(start + _BATCH, room)] for start in range(0, min(len(missing), room), _BATCH)
            ]
            # some are taken apart while others are written
            for start in range(0, len(batches), _AT_ONCE):
                await together(*map(self._add, batches[start : start + _AT_ONCE]))
        return await self._index.tree(files)

    async def _add(self, files: Sequence[CodeFile]) -> None:
        data = await self._source.read_blobs([file.blob for file in files], limit_bytes=MOST_FILE_BYTES)
        await self._index.add(list(zip(files, data, strict=True)))

    async def close(self) -> None:
        """End what was begun. The index is its owner's to close, afterwards."""
        updates = [*self._updates.values()]
        self._updates.clear()
        for update in updates:
            await stopped(update)

    async def _files(self, commit: CommitId) -> list[CodeFile]:
        known = self._listed.pop(commit, None)
        if known is None:
            listed = await self._source.list_files(commit)
            known = [CodeFile(path, blob) for path, mode, blob in listed if mode in _REGULAR]
        self._listed[commit] = known  # the last used one comes last
        while len(self._listed) > _LISTED_COMMITS:
            del self._listed[next(iter(self._listed))]
        return known

    async def draw(self, commit: CommitId, about: str, *, tokens: int, within: Sequence[str] = ()) -> str:
        """Return the map for a text; empty when there is nothing that it is about.

        Args:
            commit: whose files.
            about: a goal, a task.
            tokens: how long it may be.
            within: paths that it is about anyhow.
        """
        tree = await self.tree(commit, about)
        text = drawn(chosen_for(await self.ranked(tree, about, within=within), tokens=tokens))
        if not tree.waiting:
            return text
        left = tokens * _BYTES_PER_TOKEN - len(text.encode())
        scores = await self.rank_paths(commit, about)
        lines = [text] if text else []
        for path in sorted(set(scores) - {*tree.paths.values()}, key=lambda path: (-scores[path], path)):
            left -= len(show(path).encode()) + 1
            if left < 0:
                break
            lines.append(show(path))
        return "\n".join(lines)

    async def rank_paths(self, commit: CommitId, about: str) -> dict[bytes, float]:
        """Return the files that a text is about, by their paths alone; this needs no index."""
        files = await self._files(commit)
        return path_scores([file.path for file in files], search_words(about, most=MOST_WORDS), about)

    async def ranked(self, tree: IndexedTree, about: str, *, within: Sequence[str] = ()) -> list[RankedPart]:
        """Return the parts of a commit's code that a text is about, best first."""
        return await MapRanking(self._source, self._index, tree).ranked(about, within)

    # what agents and people search for

    async def find_text(self, commit: CommitId, text: str, *, under: str = "", most: int = 20) -> list[CodePart]:
        """Return the parts in which words of a text stand, best first."""
        tree = await self.tree(commit)
        words = search_words(text, most=MOST_WORDS) or text.lower().split()
        matching = await self._index.matching(tree, words, most=MOST_MATCHES)
        return [part for part, _ in matching if _is_under(part.path, under)][:most]

    async def find_symbol(
        self, commit: CommitId, name: str, *, under: str = ""
    ) -> tuple[list[CodePart], list[CodePart]]:
        """Return where a name is defined, and where it is used."""
        tree = await self.tree(commit)
        plain = re.split(r"[.:#/]+", name.strip().removesuffix("()"))[-1]
        defined = [part for part in await self._index.defined(tree, [plain]) if _is_under(part.path, under)]
        matching = await self._index.matching(tree, [word.lower() for word in re.findall(r"[^\W_]+", plain)], most=200)
        near: dict[int, list[CodePart]] = defaultdict(list)
        for part, _ in matching:
            near[part.file].append(part)
        files = list(near)[:_MOST_READ_FILES]
        data = await self._source.read_blobs([tree.blobs[file] for file in files], limit_bytes=MOST_FILE_BYTES)
        ids = {part.id for part in defined}
        used = [
            part
            for file, content in zip(files, data, strict=True)
            if content is not None
            for part, text in own_texts(content, near[file])
            if part.id not in ids and plain in names_in(text) and _is_under(part.path, under)
        ]
        return defined, used

    async def find_pattern(self, commit: CommitId, pattern: str, *, under: str = "") -> list[CodeMatch] | str:
        """Return where a structural pattern such as `open($PATH, 'w')` matches; else why it cannot be used."""
        tree = await self.tree(commit)
        words = [
            word.lower() for name in names_in(re.sub(r"\$+\w+", " ", pattern)) for word in re.findall(r"[^\W_]+", name)
        ]
        if words:
            files = dict.fromkeys(part.file for part, _ in await self._index.matching(tree, words, most=5_000))
        else:
            files = dict.fromkeys(tree.paths)
        wanted = [file for file in files if _is_under(tree.paths[file], under)][:_MOST_PATTERN_FILES]
        data = await self._source.read_blobs([tree.blobs[file] for file in wanted], limit_bytes=MOST_FILE_BYTES)
        read = [
            (CodeFile(tree.paths[file], tree.blobs[file]), content)
            for file, content in zip(wanted, data, strict=True)
            if content is not None
        ]
        return await self._index.find_pattern(pattern, read)


def _is_under(path: bytes, folder: str) -> bool:
    wanted = folder.removeprefix("./").strip("/").encode("utf-8", "surrogateescape")
    return not wanted or path == wanted or path.startswith(wanted + b"/")


def drawn(chosen: Sequence[RankedPart]) -> str:
    """Return parts as text: files in the order of their best part, and a line for each part."""
    by_path: dict[bytes, list[CodePart]] = defaultdict(list)
    for one in chosen:
        by_path[one.part.path].append(one.part)
    lines = []
    for path, parts in by_path.items():
        lines.append(show(path))
        lines += [part_line(part) for part in sorted(parts, key=lambda part: (part.first_line, -part.last_line))]
    return "\n".join(lines)


def chosen_for(ranked: Sequence[RankedPart], *, tokens: int) -> list[RankedPart]:
    """Return the best parts whose lines fit."""
    left = tokens * _BYTES_PER_TOKEN
    chosen: list[RankedPart] = []
    paths: set[bytes] = set()
    for one in ranked:
        size = len(part_line(one.part).encode()) + 1
        size += 0 if one.part.path in paths else len(show(one.part.path).encode()) + 1
        if size <= left:
            left -= size
            paths.add(one.part.path)
            chosen.append(one)
    return chosen


_SIGNATURE_CHARACTERS = 64


def part_line(part: CodePart) -> str:
    """Return a part as a line: its lines, and how it begins."""
    text = clean_line(part.signature or part.name)
    text = text if len(text) <= _SIGNATURE_CHARACTERS else text[: _SIGNATURE_CHARACTERS - 3] + "..."
    return f"  {part.first_line}-{part.last_line} {text}"
