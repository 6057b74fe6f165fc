"""What holds for any patch and any file."""

from hypothesis import given
from hypothesis import strategies as st

from codexteam.agent.patch.apply import AppliedPatch, OutsideWorkspace, apply_hunks, paths_of, resolve_path
from codexteam.agent.patch.parse import NotAPatch, parse_patch
from codexteam.agent.patch.text import SourceText

_HEADERS = ["*** Begin Patch", "*** End Patch", "*** Add File: a", "*** Update File: a", "*** Delete File: a"]
_MARKERS = ["*** Move to: b", "*** End of File", "*** Environment ID: e", "<<EOF", "EOF", "@@", "@@ x"]
_LINE = st.sampled_from([*_HEADERS, *_MARKERS, "+x", "-x", " x", "", "x", "\t", "+x\r"])
_TEXT = st.one_of(st.text(), st.lists(_LINE).map("\n".join))


@given(_TEXT, st.binary())
def test_no_text_breaks_the_parser_or_the_applier(text: str, data: bytes) -> None:
    for patch in (text, f"*** Begin Patch\n{text}\n*** End Patch"):
        hunks = parse_patch(patch)
        if not isinstance(hunks, NotAPatch):
            apply_hunks(hunks, {"a": data}, root="/work")


@given(st.text(alphabet="ab \t\r\n"))
def test_splitting_loses_nothing_but_gives_the_last_line_an_ending(text: str) -> None:
    source = SourceText.of(text)
    assert "".join(line + ending for line, ending in zip(source.lines, source.endings, strict=True)) == text
    assert source.replaced([]).startswith(text)


@given(st.lists(st.text(alphabet="abc ", min_size=1), min_size=1, max_size=8), st.data())
def test_a_line_that_is_replaced_is_the_only_one_that_changes(lines: list[str], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(lines) - 1))
    before = "".join(f"{line}\n" for line in lines)
    shown = [f" {line}" for line in lines]
    shown[at] = f"-{lines[at]}\n+NEW"
    patch = "\n".join(["*** Begin Patch", "*** Update File: a", "@@", *shown, "*** End Patch"])
    hunks = parse_patch(patch)
    assert not isinstance(hunks, NotAPatch)
    applied = apply_hunks(hunks, {"a": before.encode()}, root="/work")
    assert isinstance(applied, AppliedPatch)
    assert applied.writes == {"a": "".join(f"{line}\n" for line in [*lines[:at], "NEW", *lines[at + 1 :]]).encode()}


@given(st.text(alphabet="ab./", max_size=12))
def test_a_resolved_path_stays_in_the_workspace(path: str) -> None:
    resolved = resolve_path(path, root="/work")
    if not isinstance(resolved, OutsideWorkspace):
        assert not {"", ".", ".."} & set(resolved.split("/")) or resolved == ""


def test_paths_lead_where_codex_leads_them() -> None:
    assert resolve_path("x/../a.txt", root="/work") == "a.txt"
    assert resolve_path("/work/a.txt", root="/work") == "a.txt"
    assert resolve_path("./d//a.txt", root="/work") == "d/a.txt"
    assert resolve_path("~/a.txt", root="/work") == "~/a.txt"
    assert resolve_path(".", root="/work") == ""
    for outside in ("/etc/passwd", "../a.txt", "/work/../etc/passwd", "/workspace/a", "/"):
        assert isinstance(resolve_path(outside, root="/work"), OutsideWorkspace), outside


def test_every_named_path_is_told_once() -> None:
    body = ["*** Add File: a", "*** Update File: b", "*** Move to: c", "@@", "-x", "*** Delete File: a"]
    hunks = parse_patch("\n".join(["*** Begin Patch", *body, "*** End Patch"]))
    assert not isinstance(hunks, NotAPatch)
    assert paths_of(hunks) == ("a", "b", "c")


def test_half_a_surrogate_pair_is_refused() -> None:
    refused = parse_patch("*** Begin Patch\n*** Add File: a\n+\ud800\n*** End Patch")
    assert isinstance(refused, NotAPatch)
    assert "surrogate" in refused.message
