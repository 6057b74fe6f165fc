"""What scouts of earlier runs reported, with the files it rests on: it counts as long as these are unchanged.

Files are told apart by their content, so a report counts on whatever branch its files are the same. What a scout was sent to
and did not describe is not looked at again for the same goal, nor for another one that does not name it.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from codexteam.core.answers import ScoutReport
from codexteam.core.code_words import path_scores, search_words
from codexteam.core.codec import StoredForm, decode, encode_object, stored
from codexteam.environment.changes import names_set_up
from codexteam.ports.store import Store
from codexteam.run.map_ranking import MOST_WORDS

#: Space of the store, kept between runs: the newest reports, by a number that goes round.
_SPACE: Final = "scout-memory"
_MOST_KEPT: Final = 24
#: Of a blob's id, in what is kept of many.
_SHORT: Final = 16
#: Files that a goal names are those of the best score, and others that come so near to it.
_MOST_NAMED: Final = 40
_OF_THE_BEST: Final = 0.5
#: What is kept of a report.
_MOST_CHARACTERS: Final = 4_000


@stored(StoredForm(tag=""))
@dataclass(frozen=True, slots=True)
class RememberedReport:
    """A scout's report."""

    number: int
    goal: str
    area: str
    summary: str
    """The agent's words: data."""
    ci: tuple[str, ...]
    rests: tuple[str, ...]
    """The blobs that the report speaks of."""
    sent: str
    """The beginnings of the blobs that the scout was sent to, one after the other."""
    build: str
    """A digest of the files by which the repository is built and checked; empty where the report is not about them."""


@dataclass(frozen=True, slots=True)
class RecalledReports:
    """What still counts of it."""

    reports: tuple[RememberedReport, ...]
    knows_build: bool
    sent: frozenset[str]
    """The beginnings of the blobs that scouts were sent to for the same goal, or for any where this one does not name them."""

    def was_sent_to(self, blob: str) -> bool:
        """Return whether a file needs no scout any more."""
        return blob[:_SHORT] in self.sent


class ScoutMemory:
    """The reports of a repository's scouts over all runs."""

    def __init__(self, store: Store) -> None:
        """Use the repository's store."""
        self._store = store

    async def recall(self, files: Sequence[tuple[bytes, str, str]], goal: str) -> RecalledReports:
        """Return what counts for files (path, mode, blob), of each area the newest."""
        there = {blob for _, _, blob in files}
        build = build_digest(files)
        newest: dict[str, RememberedReport] = {}
        same: set[str] = set()
        other: set[str] = set()
        for report in await self._reports():
            (same if report.goal == goal else other).update(
                report.sent[at : at + _SHORT] for at in range(0, len(report.sent), _SHORT)
            )
            if there.issuperset(report.rests) and report.build in {"", build}:
                newest[report.area] = report
        scores = path_scores([path for path, _, _ in files], search_words(goal, most=MOST_WORDS), goal)
        best = sorted(scores, key=lambda path: -scores[path])[:_MOST_NAMED]
        best = [path for path in best if scores[path] >= _OF_THE_BEST * scores[best[0]]]
        named = {blob[:_SHORT] for path, _, blob in files if path in best}
        counting = tuple(sorted(newest.values(), key=lambda report: report.number))
        return RecalledReports(counting, any(report.build for report in counting), frozenset(same | (other - named)))

    async def keep(
        self,
        report: ScoutReport,
        area: str,
        files: Sequence[tuple[bytes, str, str]],
        *,
        goal: str,
        sent: Sequence[bytes],
        about_build: bool,
    ) -> None:
        """Keep a report about files (path, mode, blob); one that rests on no file is not kept."""
        blobs = {path: blob for path, _, blob in files}
        named = [file.path for file in report.files] + [entry.file for entry in report.ci]
        rests = {blobs[path] for name in named if (path := name.encode("utf-8", "surrogateescape")) in blobs}
        rests = rests or _of(sent, blobs)
        if not rests and not about_build:
            return  # nobody could say when it stops being true
        number = max((known.number for known in await self._reports()), default=0) + 1
        kept = RememberedReport(
            number,
            goal,
            area,
            report.summary[:_MOST_CHARACTERS],
            tuple(command for entry in report.ci if (command := entry.command.strip())),
            tuple(sorted(rests)),
            "".join(blob[:_SHORT] for blob in sorted(_of(sent, blobs))),
            build_digest(files) if about_build else "",
        )
        await self._store.put(_SPACE, f"{number % _MOST_KEPT:02}", encode_object(kept))

    async def _reports(self) -> list[RememberedReport]:
        kept = [decode(RememberedReport, value, "a scout's report") for _, value in await self._store.list(_SPACE)]
        return sorted(kept, key=lambda report: report.number)


def _of(paths: Sequence[bytes], blobs: Mapping[bytes, str]) -> set[str]:
    return {blobs[path] for path in paths if path in blobs}


def build_digest(files: Sequence[tuple[bytes, str, str]]) -> str:
    """Return the same for the same set of files that say how the repository is built, tested and checked."""
    found = sorted((path, blob) for path, _, blob in files if _is_of_build(path))
    return hashlib.sha256(b"\n".join(path + b"\0" + blob.encode() for path, blob in found)).hexdigest()


def _is_of_build(path: bytes) -> bool:
    text = path.decode("utf-8", "replace")
    name = text.rpartition("/")[2].lower()
    return names_set_up(text) or name.startswith(("readme", "agents.md", "contributing", "makefile", "tox.", "noxfile"))
