"""Ranks the parts of a commit's code by how much a text is about them.

A part counts for the words that it shares with the text, in its body, its name and its path, and for being named; what such
parts refer to, and who refers to them, counts by personalised PageRank. A file with good parts lifts its others, and code
lifts its tests.
"""

import asyncio
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from codexteam.core.code_words import names_in, page_rank, path_scores, search_words, shared_out, twin_names
from codexteam.core.file_kinds import Relevance, relevance
from codexteam.ports.symbol_index import CodePart, CodeSource, IndexedTree, SymbolIndex

#: A larger file is not looked at.
MOST_FILE_BYTES = 512 << 10
#: Words of a text that are searched for.
MOST_WORDS = 60
#: Parts that words find.
MOST_MATCHES = 400
#: Files all of whose parts are looked at for their paths alone.
_MOST_PATHS = 30
#: Files whose references are followed, and names in them.
_MOST_READ_FILES = 80
_MOST_NAMES = 4_000
#: A name that is defined more often says nothing of which is meant.
_MOST_DEFINITIONS = 8
#: How the parts of a score weigh.
_PATH, _RANK, _FILE, _TWIN = 0.5, 0.5, 0.25, 0.3
#: A short word that is also a name of something says less; so does being referred to less than referring.
_COMMON_NAME, _BACKWARDS = 0.3, 1 / 3
#: What a file counts for in which a change of code seldom begins.
_WEIGHTS = {
    Relevance.CODE: 1.0,
    Relevance.TEST: 1.0,
    Relevance.PROSE: 0.9,
    Relevance.DATA: 0.4,
    Relevance.GENERATED: 0.2,
    Relevance.LOCK: 0.1,
}
_BYTES_PER_LINE = 40
_WORD = re.compile(r"[A-Za-z_]\w{2,}")
_LONG_NAME = 8


@dataclass(frozen=True, slots=True)
class RankedPart:
    """A part of the code, and how much a text is about it."""

    part: CodePart
    score: float


class MapRanking:
    """Ranks the parts of one commit."""

    def __init__(self, source: CodeSource, index: SymbolIndex, tree: IndexedTree) -> None:
        """Take what is asked."""
        self._source = source
        self._index = index
        self._tree = tree
        self._parts: dict[int, CodePart] = {}

    async def ranked(self, about: str, within: Sequence[str]) -> list[RankedPart]:
        """Return the parts that a text is about, best first; `within` are paths that it is about anyhow."""
        self._parts.clear()
        words = search_words(about, most=MOST_WORDS)
        named_paths = " ".join((about, *within))
        by_path = shared_out(await asyncio.to_thread(path_scores, list(self._tree.paths.values()), words, named_paths))
        scores = await self._matching(about, words)
        numbers = {path: number for number, path in self._tree.paths.items()}
        best = sorted(by_path, key=lambda path: (-by_path[path], path))[:_MOST_PATHS]
        self._take(await self._index.parts_of(self._tree, [numbers[path] for path in best]))
        for number, part in self._parts.items():
            scores[number] = scores.get(number, 0.0) + _PATH * by_path.get(part.path, 0.0)
        texts = await self._read(scores)
        self._take(await self._index.parts_of(self._tree, list(texts)))
        used = await asyncio.to_thread(self._used_names, texts)
        names = sorted(set().union(*used.values()))[:_MOST_NAMES] if used else []
        defined = await self._index.defined(self._tree, names)
        self._take(defined)
        return await asyncio.to_thread(self._combined, scores, used, defined)

    def _take(self, parts: Sequence[CodePart]) -> None:
        for part in parts:
            self._parts.setdefault(part.id, part)

    async def _matching(self, about: str, words: Sequence[str]) -> dict[int, float]:
        """Score what the text names, or shares words with."""
        matching = await self._index.matching(self._tree, words, most=MOST_MATCHES)
        named = await self._index.defined(self._tree, sorted(set(_WORD.findall(about))))
        self._take([part for part, _ in matching])
        scores = shared_out({part.id: score for part, score in matching})
        counts = Counter(part.name for part in named)
        for part in named:
            if counts[part.name] <= _MOST_DEFINITIONS:
                self._take([part])
                scores[part.id] = scores.get(part.id, 0.0) + _telling(part.name) / counts[part.name]
        return scores

    async def _read(self, scores: Mapping[int, float]) -> dict[int, bytes]:
        """Return the files that have most of the score."""
        by_file: dict[int, float] = defaultdict(float)
        for number, score in scores.items():
            by_file[self._parts[number].file] += score * _weight(self._parts[number])
        files = sorted(by_file, key=lambda file: (-by_file[file], file))[:_MOST_READ_FILES]
        data = await self._source.read_blobs([self._tree.blobs[file] for file in files], limit_bytes=MOST_FILE_BYTES)
        return {file: content for file, content in zip(files, data, strict=True) if content is not None}

    def _used_names(self, texts: Mapping[int, bytes]) -> dict[int, set[str]]:
        inside: dict[int, list[CodePart]] = defaultdict(list)
        for part in self._parts.values():
            inside[part.file].append(part)
        return {
            part.id: names_in(text) - {part.name}
            for file, content in texts.items()
            for part, text in own_texts(content, inside[file])
        }

    def _combined(
        self, scores: Mapping[int, float], used: Mapping[int, set[str]], defined: Sequence[CodePart]
    ) -> list[RankedPart]:
        start = {number: score * _weight(self._parts[number]) for number, score in scores.items() if score > 0}
        ranks = shared_out(page_rank(_references(used, defined), start))
        total = {
            number: start.get(number, 0.0) + _RANK * ranks.get(number, 0.0) * _weight(part)
            for number, part in self._parts.items()
        }
        by_file = self._by_file(total)
        twins: dict[str, float] = defaultdict(float)
        for path, score in by_file.items():
            twins[twin_names(path)] = max(twins[twin_names(path)], score)
        final = {
            number: score * (1 + _TWIN * twins[twin_names(self._parts[number].path)])
            + _FILE * by_file.get(self._parts[number].path, 0.0)
            for number, score in total.items()
        }
        order = sorted(final, key=lambda number: (-final[number], self._parts[number].path, number))
        return [RankedPart(self._parts[number], final[number]) for number in order]

    def _by_file(self, scores: Mapping[int, float]) -> dict[bytes, float]:
        best: dict[bytes, list[float]] = defaultdict(list)
        for number, score in scores.items():
            best[self._parts[number].path].append(score)
        return shared_out({path: sum(sorted(found, reverse=True)[:3]) for path, found in best.items()})


def _references(used: Mapping[int, set[str]], defined: Sequence[CodePart]) -> dict[int, dict[int, float]]:
    """Return who refers to what, and, weaker, who is referred to by whom."""
    by_name: dict[str, list[int]] = defaultdict(list)
    for part in defined:
        by_name[part.name].append(part.id)
    edges: dict[int, dict[int, float]] = defaultdict(lambda: defaultdict(float))
    for number, names in used.items():
        for name in sorted(names):
            targets = by_name.get(name, ())
            if len(targets) > _MOST_DEFINITIONS:
                continue
            for target in targets:
                weight = _telling(name) / len(targets)
                edges[number][target] += weight
                edges[target][number] += weight * _BACKWARDS
    return edges


def _telling(name: str) -> float:
    """Return what a name counts for: less where it may well be an ordinary word."""
    tells = len(name) >= _LONG_NAME or "_" in name.strip("_") or any(letter.isupper() for letter in name[1:])
    return 1.0 if tells else _COMMON_NAME


def _weight(part: CodePart) -> float:
    return _WEIGHTS[relevance(part.path.decode("utf-8", "replace"), part.last_line * _BYTES_PER_LINE)]


def own_texts(content: bytes, parts: Sequence[CodePart]) -> list[tuple[CodePart, str]]:
    """Return the own lines of a file's parts: those that belong to no part inside them."""
    lines = content.decode("utf-8", "replace").split("\n")
    owners: list[CodePart | None] = [None] * len(lines)
    for part in sorted(parts, key=lambda part: (part.first_line, -part.last_line)):
        last = min(part.last_line, len(lines))
        owners[part.first_line - 1 : last] = [part] * (last - part.first_line + 1)
    texts: dict[int, list[str]] = defaultdict(list)
    for line, owner in zip(lines, owners, strict=True):
        if owner is not None:
            texts[owner.id].append(line)
    return [(part, "\n".join(texts[part.id])) for part in parts if part.id in texts]
