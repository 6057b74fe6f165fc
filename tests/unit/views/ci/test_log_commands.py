"""What a pipeline's runner reads: our commands keep their shape, and no foreign text becomes one."""

import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codexteam.app.ci.surroundings import CiSystem
from codexteam.views.ci.log_commands import Annotation, CiLog, inert, inert_stream

HOSTILE = "a\n::add-mask::x\r\n  ::error file=b,line=2::c %0A,d\n##[set-output name=e;]f"
PIECES = st.lists(
    st.sampled_from([":", "::", "#", "##[", "[", "]", "\n", "\r", " ", "\t", "a", "::error::"]), max_size=12
)


def obeyed(text: str) -> list[str]:
    """Return the lines that GitHub's runner takes as commands, by the rules of its ActionCommand."""
    lines = re.split(r"\r\n|\r|\n", text)
    return [line for line in lines if line.lstrip().startswith("::") or "##[" in line]


def test_a_note_is_one_line_whatever_its_texts_hold() -> None:
    note = Annotation("error", HOSTILE, HOSTILE, HOSTILE, 3)

    said = CiLog(CiSystem.GITHUB).annotation(note)

    [line] = said.splitlines()
    head, _, message = line.removeprefix("::error ").partition("::")
    assert [part.partition("=")[0] for part in head.split(",")] == ["file", "line", "title"]
    assert message.startswith("a%0A::add-mask::x\\r%0A  ::error file=b")
    assert "%250A" in message


def test_a_note_without_a_file_names_no_line() -> None:
    said = CiLog(CiSystem.GITHUB).annotation(Annotation("warning", "title", "message", "", 3))
    assert said == "::warning title=title::message\n"


def test_only_github_shows_notes() -> None:
    note = Annotation("error", "title", "message")
    assert [CiLog(system).annotation(note) for system in (CiSystem.GITLAB, CiSystem.OTHER)] == ["", ""]


def test_a_group_has_the_form_of_its_system() -> None:
    github, gitlab, other = map(CiLog, CiSystem)
    assert github.group("a\nb", at_seconds=1.5) + github.end_group(at_seconds=2) == "::group::a\\nb\n::endgroup::\n"
    assert gitlab.group("a", at_seconds=1.5) == "\x1b[0Ksection_start:1:codexteam_1[collapsed=true]\r\x1b[0Ka\n"
    assert gitlab.end_group(at_seconds=2) == "\x1b[0Ksection_end:2:codexteam_1\r\x1b[0K\n"
    assert other.group("a", at_seconds=1.5) + other.end_group(at_seconds=2) == "== a\n"


def test_plain_words_are_printed_as_they_are() -> None:
    plain = "std::vector a::b\n12:30:00 T1 done: 3 # 4 [x]\n"
    assert inert(plain) == plain


@given(PIECES)
def test_no_text_is_a_command_however_it_is_cut_into_writes(pieces: list[str]) -> None:
    out = io.StringIO()
    stream = inert_stream(out)

    for piece in pieces:
        stream.write(piece)

    assert obeyed(out.getvalue()) == []
    assert re.sub(" ", "", out.getvalue()) == re.sub(" ", "", "".join(pieces))


@pytest.mark.parametrize("text", ["::stop-commands::x\n", "\u2003::error::x\n", "log ##[error]x\n", "\n\n ::x::"])
def test_each_form_of_a_command_is_broken(text: str) -> None:
    assert obeyed(text) != []
    assert obeyed(inert(text)) == []
