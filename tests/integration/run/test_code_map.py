"""The map of the code over the real index: what it holds, how long it is, and how it grows with commits."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from codexteam.adapters.code_map.sqlite_index import SqliteSymbolIndex
from codexteam.core.ids import CommitId
from codexteam.ports.repo import Identity
from codexteam.run.code_map import CodeMap
from tests.fakes.fake_repo import FakeRepo

WHO = Identity("somebody", "somebody@example.org", 1_700_000_000)
FILES: dict[str, bytes | str] = {
    "app/invoice.py": b"from app.tax import tax_rate\n\n\ndef total(invoice):\n    return invoice.net * tax_rate(invoice)\n",
    "app/tax.py": b"def tax_rate(invoice):\n    return 1.2\n\n\ndef unrelated():\n    return 3\n",
    "app/mail.py": b"def send(message):\n    return message\n",
    "tests/test_invoice.py": b"from app.invoice import total\n\n\ndef test_total():\n    assert total\n",
    "docs/invoice.html": b"<p>invoice total rounding invoice total rounding</p>\n" * 30,
    **{f"aaa/file{number}.py": b"def noise():\n    return %d\n" % number for number in range(300)},
}
GOAL = "Round the total of an invoice to cents"


@pytest.fixture
async def made(tmp_path: Path) -> AsyncIterator[tuple[CodeMap, FakeRepo]]:
    repo = FakeRepo(tmp_path / "repo", FILES)
    index = SqliteSymbolIndex(tmp_path / "index.sqlite3")
    code = CodeMap(repo, index, max_files=10_000, wait_seconds=60)
    yield code, repo
    await code.close()
    await index.close()


async def test_a_map_begins_with_what_the_goal_is_about(made: tuple[CodeMap, FakeRepo]) -> None:
    code, repo = made
    lines = (await code.draw(repo.head, GOAL, tokens=400)).splitlines()

    assert lines[:3] == ["app/invoice.py", "  1-3 from app.tax import tax_rate", "  4-5 def total(invoice)"]
    assert "tests/test_invoice.py" in lines
    # the goal does not name it; what it names refers to it
    assert "  1-2 def tax_rate(invoice)" in lines
    assert "aaa/file1.py" not in lines


async def test_a_map_keeps_to_its_tokens(made: tuple[CodeMap, FakeRepo]) -> None:
    code, repo = made
    for tokens in (10, 30, 100):
        assert len((await code.draw(repo.head, f"{GOAL} noise", tokens=tokens)).encode()) <= tokens * 4


class CountingSource:
    """A repository that counts what is read of it."""

    def __init__(self, repo: FakeRepo) -> None:
        self.repo = repo
        self.read: list[int] = []

    async def list_files(self, commit: CommitId) -> tuple[tuple[bytes, str, str], ...]:
        return await self.repo.list_files(commit)

    async def read_blobs(self, blobs: Sequence[str], *, limit_bytes: int) -> list[bytes | None]:
        self.read.append(len(blobs))
        return await self.repo.read_blobs(blobs, limit_bytes=limit_bytes)


async def test_a_commit_costs_only_its_new_contents(tmp_path: Path) -> None:
    repo = FakeRepo(tmp_path / "repo", FILES)
    source, index = CountingSource(repo), SqliteSymbolIndex(tmp_path / "index.sqlite3")
    code = CodeMap(source, index, max_files=10_000, wait_seconds=60)
    try:
        await code.tree(repo.head)
        source.read.clear()
        repo.uncommitted = {"app/round.py": b"def round_to_cents(amount):\n    return amount\n"}
        later = await repo.commit_work_tree(repo.head, "more", WHO)
        await code.tree(later)

        assert source.read == [1]
        assert [part.name for part in (await code.find_symbol(later, "round_to_cents"))[0]] == ["round_to_cents"]
        assert (await code.find_symbol(repo.head, "round_to_cents"))[0] == []
    finally:
        await code.close()
        await index.close()


async def test_a_name_is_found_with_its_uses(made: tuple[CodeMap, FakeRepo]) -> None:
    code, repo = made
    defined, used = await code.find_symbol(repo.head, "tax.tax_rate()")

    assert [(part.path, part.first_line) for part in defined] == [(b"app/tax.py", 1)]
    assert sorted((part.path, part.name) for part in used) == [(b"app/invoice.py", ""), (b"app/invoice.py", "total")]
    assert (await code.find_symbol(repo.head, "tax_rate", under="tests"))[0] == []


async def test_structure_is_searched_for_where_its_names_are(made: tuple[CodeMap, FakeRepo]) -> None:
    code, repo = made
    found = await code.find_pattern(repo.head, "tax_rate($A)")

    assert not isinstance(found, str)
    assert [(match.path, match.text) for match in found] == [(b"app/invoice.py", "tax_rate(invoice)")]


async def test_of_too_many_files_those_that_the_goal_names_are_indexed(tmp_path: Path) -> None:
    repo = FakeRepo(tmp_path / "repo", FILES)
    index = SqliteSymbolIndex(tmp_path / "index.sqlite3")
    code = CodeMap(repo, index, max_files=4, wait_seconds=60)
    try:
        text = await code.draw(repo.head, GOAL, tokens=300)
        assert "  4-5 def total(invoice)" in text.splitlines()
        assert (await index.size()).files == 4
    finally:
        await code.close()
        await index.close()


async def test_who_cannot_wait_gets_paths_and_others_the_rest(tmp_path: Path) -> None:
    repo = FakeRepo(tmp_path / "repo", FILES)
    index = SqliteSymbolIndex(tmp_path / "index.sqlite3")
    hurried = CodeMap(repo, index, max_files=10_000, wait_seconds=0)
    patient = CodeMap(repo, index, max_files=10_000, wait_seconds=60)
    try:
        early = await hurried.draw(repo.head, GOAL, tokens=300)
        assert "app/invoice.py" in early.splitlines()
        assert "  4-5 def total(invoice)" in (await patient.draw(repo.head, GOAL, tokens=300)).splitlines()
    finally:
        await hurried.close()
        await patient.close()
        await index.close()


async def test_a_goal_about_nothing_here_has_no_map(made: tuple[CodeMap, FakeRepo]) -> None:
    code, repo = made
    assert await code.draw(CommitId(repo.head), "zzz qqq", tokens=500) == ""
