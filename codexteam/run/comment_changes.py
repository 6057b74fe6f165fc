"""Whether nothing but comments and docstrings changed in a file of code, judged by the language's own tokens.

Python is read by its own parser, other languages by Pygments. Where a reader of comments and a compiler could disagree,
the answer is that it cannot be checked: comments that tools obey, line ends and escapes that end a comment for a compiler
alone, languages that are not listed here. No text is run or imported.
"""

import ast
import io
import re
import tokenize
import warnings
from collections.abc import Sequence
from pathlib import PurePosixPath

#: Longer files are not read: nobody writes the documentation of one in a comment.
MAX_BYTES = 256 * 1024

_PYTHON = frozenset({".py", ".pyi"})
#: Suffix to the name of Pygments' lexer; languages whose comments it tells from code without guessing.
_LEXERS = {
    ".c": "c",
    ".cc": "cpp",
    ".cpp": "cpp",
    ".cs": "csharp",
    ".cxx": "cpp",
    ".dart": "dart",
    ".go": "go",
    ".h": "cpp",
    ".hpp": "cpp",
    ".java": "java",
    ".js": "javascript",
    ".kt": "kotlin",
    ".mjs": "javascript",
    ".cjs": "javascript",
    ".rs": "rust",
    ".scala": "scala",
    ".swift": "swift",
    ".ts": "typescript",
}
#: What tools and compilers obey although it stands in a comment.
_OBEYED = re.compile(
    r"^#!|coding[:=]|\btype:|\bnoqa\b|\bpragma\b|\bpylint:|\bpyright:|\bmypy:|\bpyre|\bruff:|\bisort:|\bfmt:|\byapf|\bflake8"
    r"|\bnosec\b|\bdoctest:|\bnosemgrep|\bNOLINT|\bnolint|//go:|//line |//export|\+build|@ts-|eslint|jshint|jslint|prettier-"
    r"|@jsx|@flow|@license|istanbul|\bc8 |\bv8 |webpack|sourceMappingURL|sourceURL|/// *<|@formatter|checkstyle|\bNOSONAR|"
    r"swiftlint|swift-tools-version|rustfmt|clang-format|clang-tidy|cppcheck|coverity|@cc_on|ReSharper|language=|@dart",
    re.IGNORECASE,
)
#: Characters and escapes that end or begin a comment for a compiler, and not for a reader.
_TRICKS = re.compile("[\x00\x0b\x0c\x1c-\x1e\x85\u2028\u2029\u202a-\u202e\u2066-\u2069]|\\\\u+00|\\?\\?/")


def problem_of(path: str, before: bytes | None, after: bytes | None) -> str:
    """Say why a change may be more than one of comments and docstrings; empty if it is nothing else.

    `before` and `after` are the file's bytes; None where it is not there.
    """
    if before is None:
        return "it is a new file of code"
    if after is None:
        return "it was removed"
    suffix = PurePosixPath(path).suffix.casefold()
    if suffix not in _PYTHON and suffix not in _LEXERS:
        return f"whether only comments changed cannot be checked in {suffix or 'such'} files"
    if max(len(before), len(after)) > MAX_BYTES:
        return f"whether only comments changed is checked in files of up to {MAX_BYTES // 1024} KiB"
    try:
        texts = [data.decode("utf-8") for data in (before, after)]
    except UnicodeDecodeError:
        return "whether only comments changed cannot be checked: it is not UTF-8"
    read = _read_python if suffix in _PYTHON else _read_other
    try:
        (code, comments), (new_code, new_comments) = (read(text, suffix) for text in texts)
    except _Unreadable as error:
        return f"whether only comments changed cannot be checked: {error}"
    if code != new_code:
        return f"more than comments and docstrings changed{_first_difference(code, new_code)}"
    if obeyed := _obeyed(comments) ^ _obeyed(new_comments):
        return f"a comment changed that tools obey: {_clipped(min(obeyed))}"
    tricks = [text for text in new_comments if _TRICKS.search(text) and text not in comments]
    return f"a comment holds what could end it for a compiler alone: {_clipped(tricks[0])}" if tricks else ""


class _Unreadable(Exception):  # noqa: N818 - caught here, and never an error of the program
    """Why a text's comments and its code cannot be told apart."""


#: What a text says to a compiler: pieces of code with the line each begins in (0: unknown); and its comments.
_Reading = tuple[list[str], list[str]]


def _read_python(text: str, _suffix: str) -> _Reading:
    """Return the tokens of Python without comments and texts that are statements of their own, which docstrings are."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the text itself: they are its authors' to see
            tree = ast.parse(text)
            # what the compiler alone refuses, such as a misplaced import
            compile(text, "<checked>", "exec", dont_inherit=True)
        tokens = list(tokenize.generate_tokens(io.StringIO(text).readline))
    except (SyntaxError, ValueError, RecursionError, MemoryError, tokenize.TokenError) as error:
        raise _Unreadable(f"Python cannot read it ({type(error).__name__})") from error
    texts = {
        (node.lineno, node.col_offset)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    }
    lines = text.splitlines(keepends=True)
    spans = [
        (node.lineno, node.end_lineno or node.lineno)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and (node.lineno, node.col_offset) in texts
    ]
    code: list[str] = []
    comments = ["".join(lines[first - 1 : last]) for first, last in spans]
    layout = {tokenize.NL, tokenize.ENCODING, tokenize.ENDMARKER}
    in_text = False
    for token in tokens:
        if token.type == tokenize.COMMENT:
            comments.append(token.string)
        elif token.type in layout:
            continue
        elif token.type == tokenize.STRING and (in_text or _is_statement(token, texts, lines)):
            in_text = True
        elif in_text and token.type == tokenize.NEWLINE:
            in_text = False
        elif in_text and token.string != ";":
            raise _Unreadable("a text of its own line has something beside it")
        else:
            in_text = False
            code.append(
                token.string if token.type not in {tokenize.INDENT, tokenize.DEDENT} else tokenize.tok_name[token.type]
            )
    return code, comments


def _is_statement(token: tokenize.TokenInfo, texts: set[tuple[int, int]], lines: Sequence[str]) -> bool:
    line, column = token.start
    # the parser counts bytes, the tokenizer characters
    return (line, len(lines[line - 1][:column].encode())) in texts


def _read_other(text: str, suffix: str) -> _Reading:
    """Return the tokens without comments and white space, by the language's lexer."""
    from pygments.lexers import get_lexer_by_name
    from pygments.token import Comment, Error, String, Token, Whitespace

    if suffix == ".go" and re.search(r'^\s*import\s+"C"', text, re.MULTILINE):
        raise _Unreadable('comments before `import "C"` are code')
    code: list[str] = []
    comments: list[str] = []
    for kind, value in get_lexer_by_name(_LEXERS[suffix], stripnl=False, ensurenl=False).get_tokens(text):
        if kind in Error:
            raise _Unreadable("its syntax is not known")
        if (kind in Comment and kind not in Comment.Preproc and kind not in Comment.PreprocFile) or kind in String.Doc:
            if kind in Comment.Hashbang:
                code.append(value)
            else:
                comments.append(value)
        elif kind in Whitespace or (kind in Token.Text and not value.strip()):
            # where a language ends statements at line ends, moving one moves code
            if "\n" in value and code and code[-1] != "\n":
                code.append("\n")
        else:
            code.append(value)
    return _without_empty_lines(code), comments


def _without_empty_lines(code: Sequence[str]) -> list[str]:
    kept = [piece for place, piece in enumerate(code) if piece != "\n" or (place and code[place - 1] != "\n")]
    return kept[:-1] if kept[-1:] == ["\n"] else kept


def _obeyed(comments: Sequence[str]) -> set[str]:
    """Return the comments that tools obey, with how often each is there."""
    lines = [" ".join(line.split()) for text in comments for line in text.splitlines() if _OBEYED.search(line)]
    return {f"{line} ({lines.count(line)} times)" if lines.count(line) > 1 else line for line in lines}


def _first_difference(before: Sequence[str], after: Sequence[str]) -> str:
    place = next(
        (n for n, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), min(len(before), len(after))
    )
    piece = " ".join(" ".join(after[place : place + 6]).split()) or "the end of the file"
    return f", at `{_clipped(piece)}`"


def _clipped(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 80 else f"{line[:77]}..."
