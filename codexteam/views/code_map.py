"""The map of the code, and what is found in it, as `codexteam index` prints them."""

from collections.abc import Iterator, Sequence

from codexteam.app.code_map import CodeAnswer, CodeQuestion
from codexteam.core.ids import JSONObject
from codexteam.core.paths import show
from codexteam.core.text import clean_line
from codexteam.ports.symbol_index import CodePart
from codexteam.run.code_map import drawn
from codexteam.views.streams import OutputStreams


def print_answer(output: OutputStreams, question: CodeQuestion, answer: CodeAnswer) -> int:
    """Print what was found; the exit code is 0 whether anything was."""
    if output.json_lines:
        output.record(_record(answer))
        return 0
    lines = list(_lines(answer))
    for line in lines:
        output.write(f"{line}\n")
    asked = question.about or question.text or question.symbol or question.pattern
    if asked and not lines:
        output.note("nothing in the code fits")
    elif not asked:
        for line in _size_lines(answer):
            output.write(f"{line}\n")
    return 0


def _lines(answer: CodeAnswer) -> Iterator[str]:
    if answer.ranked:
        yield drawn(answer.ranked)
    yield from map(_place, answer.parts)
    for part in answer.used:
        yield f"{_place(part)}  (use)"
    for match in answer.matches:
        yield f"{show(match.path)}:{match.first_line}-{match.last_line} {clean_line(match.text)}"


def _place(part: CodePart) -> str:
    return f"{show(part.path)}:{part.first_line}-{part.last_line} {clean_line(part.signature)}"


def _size_lines(answer: CodeAnswer) -> Iterator[str]:
    size = answer.size
    left = f"; {answer.total - answer.files:,} are not indexed" if answer.files < answer.total else ""
    yield f"{answer.files:,} files at {answer.commit[:12]}{left}"
    yield f"{size.symbols:,} definitions in {size.files:,} contents, {size.size_bytes / 1e6:.1f} MB: {answer.path}"
    if size.parser:
        yield f"definitions read with {size.parser}"
    else:
        yield "no definitions, words and paths alone: pip install 'codexteam[map]' reads them"


def _record(answer: CodeAnswer) -> JSONObject:
    size = answer.size
    return {
        "type": "index",
        "commit": answer.commit,
        "files": answer.files,
        "files_total": answer.total,
        "definitions": size.symbols,
        "index_bytes": size.size_bytes,
        "index_path": str(answer.path),
        "parser": size.parser or None,
        "map": [{**_part(one.part), "score": round(one.score, 4)} for one in answer.ranked],
        "found": [*_parts(answer.parts)],
        "used": [*_parts(answer.used)],
        "matches": [
            {"path": show(one.path), "first_line": one.first_line, "last_line": one.last_line, "text": one.text}
            for one in answer.matches
        ],
    }


def _parts(parts: Sequence[CodePart]) -> Iterator[JSONObject]:
    return map(_part, parts)


def _part(part: CodePart) -> JSONObject:
    return {
        "path": show(part.path),
        "first_line": part.first_line,
        "last_line": part.last_line,
        "name": part.name or None,
        "kind": part.kind,
        "text": part.signature,
    }
