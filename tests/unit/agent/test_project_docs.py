"""AGENTS.md as Codex reads it; every expected text was measured with the real program."""

from dataclasses import dataclass, field

import pytest

from codexteam.agent.project_docs import ProjectDocs, folder_chain, load_project_docs
from codexteam.config.settings import ProjectDocSettings
from tests.fakes.memory_files import MemoryFiles

_SEPARATOR = "\n\n--- project-doc ---\n\n"


async def _load(
    home: dict[str, str | bytes] | None = None,
    project: dict[str, str | bytes] | None = None,
    *,
    folder: str = "",
    trusted: bool | None = True,
    max_bytes: int = 32_768,
    fallbacks: tuple[str, ...] = (),
    markers: tuple[str, ...] = (".git",),
) -> ProjectDocs:
    files = project or {}
    return await load_project_docs(
        ProjectDocSettings(max_bytes, fallbacks, markers),
        folders=folder_chain(folder, markers, lambda path: path in files),
        trusted=trusted,
        read_project=MemoryFiles(files).read,
        read_home=MemoryFiles(home or {}).read,
        workspace="/work",
    )


def _message(body: str, where: str | None) -> str:
    title = "# AGENTS.md instructions" if where is None else f"# AGENTS.md instructions for {where}"
    return f"{title}\n\n<INSTRUCTIONS>\n{body}\n</INSTRUCTIONS>"


@dataclass(frozen=True)
class Case:
    home: dict[str, str | bytes]
    project: dict[str, str | bytes]
    body: str
    where: str | None = "/work"
    sources: tuple[str, ...] = ()
    folder: str = ""
    trusted: bool | None = True
    fallbacks: tuple[str, ...] = ()
    markers: tuple[str, ...] = field(default=(".git",))


_CASES = {
    "the user's file, then every folder's, root first": Case(
        {"AGENTS.md": "global\n"},
        {"AGENTS.md": "root\n\n", "a/AGENTS.md": "  a  \n", "a/b/AGENTS.md": "b"},
        f"global{_SEPARATOR}root\n\n\n\n  a  \n\n\nb",
        "/work/a/b",
        ("$CODEX_HOME/AGENTS.md", "AGENTS.md", "a/AGENTS.md", "a/b/AGENTS.md"),
        folder="a/b",
    ),
    "only the user's file": Case({"AGENTS.md": "  g  \n\n"}, {}, "g", None, ("$CODEX_HOME/AGENTS.md",)),
    "only the project's file": Case({}, {"AGENTS.md": "root\n"}, "root\n", sources=("AGENTS.md",)),
    "an override comes first": Case(
        {"AGENTS.md": "g", "AGENTS.override.md": "go"},
        {"AGENTS.md": "root", "AGENTS.override.md": "ro", "FB.md": "fb"},
        f"go{_SEPARATOR}ro",
        sources=("$CODEX_HOME/AGENTS.override.md", "AGENTS.override.md"),
        fallbacks=("FB.md",),
    ),
    "a blank override hides the project's, not the user's": Case(
        {"AGENTS.md": "g", "AGENTS.override.md": "  \n"},
        {"AGENTS.md": "root", "AGENTS.override.md": " \n"},
        "g",
        None,
        ("$CODEX_HOME/AGENTS.md",),
    ),
    "fallback names come in their order": Case(
        {"FB.md": "g"}, {"FB.md": "fb", "X.md": "x"}, "x", sources=("X.md",), fallbacks=("X.md", "FB.md")
    ),
    "a fallback is a name and no path": Case(
        {}, {"d/FB.md": "fb", "FB2.md": "2"}, "2", sources=("FB2.md",), fallbacks=("d/FB.md", "", "FB2.md")
    ),
    "bytes that are not text become a sign": Case(
        {"AGENTS.md": b"g\xff"},
        {"AGENTS.md": b"a\xffb"},
        f"g\ufffd{_SEPARATOR}a\ufffdb",
        sources=("$CODEX_HOME/AGENTS.md", "AGENTS.md"),
    ),
    "an untrusted project says nothing": Case(
        {"AGENTS.md": "g"}, {"AGENTS.md": "root"}, "g", None, ("$CODEX_HOME/AGENTS.md",), trusted=False
    ),
    "an undecided project is read": Case({}, {"AGENTS.md": "root"}, "root", sources=("AGENTS.md",), trusted=None),
    "without markers only the working directory counts": Case(
        {}, {"AGENTS.md": "root", "a/AGENTS.md": "a"}, "a", "/work/a", ("a/AGENTS.md",), folder="a", markers=()
    ),
    "the nearest marker is the root": Case(
        {},
        {"AGENTS.md": "root", "a/AGENTS.md": "a", "a/pk": "", "a/b/AGENTS.md": "b"},
        "a\n\nb",
        "/work/a/b",
        ("a/AGENTS.md", "a/b/AGENTS.md"),
        folder="a/b",
        markers=("pk",),
    ),
}


@pytest.mark.parametrize("name", _CASES)
async def test_instructions_are_those_that_codex_gives(name: str) -> None:
    case = _CASES[name]
    docs = await _load(
        case.home,
        case.project,
        folder=case.folder,
        trusted=case.trusted,
        fallbacks=case.fallbacks,
        markers=case.markers,
    )
    assert docs == ProjectDocs(_message(case.body, case.where), case.sources)


async def test_nothing_is_nothing() -> None:
    assert await _load() == ProjectDocs()
    assert await _load({}, {"AGENTS.md": "\n", "FB.md": "fb"}, fallbacks=("FB.md",)) == ProjectDocs()


async def test_the_project_gets_a_budget_of_bytes_and_the_rest_is_told() -> None:
    docs = await _load(
        {"AGENTS.md": "globalglobal"},
        {"AGENTS.md": "0123456789", "a/AGENTS.md": "abcdefghij", "a/b/AGENTS.md": "zzz", "a/b/c/AGENTS.md": "y"},
        folder="a/b/c",
        max_bytes=15,
    )
    assert docs.text == _message(f"globalglobal{_SEPARATOR}0123456789\n\nabcde", "/work/a/b/c")
    assert [notice.partition(". ")[0] for notice in docs.notices] == [
        "Loaded only 5 of 10 bytes from `a/AGENTS.md` under the 15-byte project instruction budget",
        "Skipped project instructions starting at `a/b/AGENTS.md` because the 15-byte budget was exhausted",
        "Combined user instructions use 52 bytes, above the 15-byte `project_doc_max_bytes` setting",
    ]


async def test_a_character_that_is_cut_becomes_a_sign() -> None:
    docs = await _load({}, {"AGENTS.md": "0123456é89"}, max_bytes=8)
    assert docs.text == _message("0123456\ufffd", "/work")


async def test_a_budget_of_nothing_keeps_the_users_own_file() -> None:
    docs = await _load({"AGENTS.md": "globalglobal"}, {"AGENTS.md": "0123456789"}, max_bytes=0)
    assert docs == ProjectDocs(_message("globalglobal", None), ("$CODEX_HOME/AGENTS.md",))


async def test_blank_files_cost_nothing() -> None:
    docs = await _load({}, {"AGENTS.md": " " * 10, "a/AGENTS.md": "abcdefghij"}, folder="a", max_bytes=15)
    assert docs == ProjectDocs(_message("abcdefghij", "/work/a"), ("a/AGENTS.md",))
