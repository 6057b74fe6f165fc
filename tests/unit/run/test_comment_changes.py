"""Nothing but comments and docstrings changed, or the change is refused with the reason."""

import pytest

from codexteam.run.comment_changes import MAX_BYTES, problem_of

FUNCTION = "def f(x):\n    return x + 1\n"

ALLOWED = {
    "a comment": ("x = 1\n", "x = 1  # why\n"),
    "a comment of its own": (FUNCTION, f"# Adds.\n\n{FUNCTION}"),
    "a docstring": (FUNCTION, 'def f(x):\n    """Return it."""\n    return x + 1\n'),
    "a longer docstring": (
        'def f():\n    """A."""\n    return 1\n',
        'def f():\n    """A.\n\n    B.\n    """\n    return 1\n',
    ),
    "what an attribute is": ("class A:\n    x = 1\n", 'class A:\n    x = 1\n    """How many."""\n'),
    "beside other letters": ('é = 1\ndef f():\n    "dé"; return é\n', 'é = 1\ndef f():\n    "döc"; return é\n'),
}
REFUSED = {
    "code": (FUNCTION, FUNCTION.replace("1", "2"), "more than comments"),
    "a text in use": ('x = f("a")\n', 'x = f("b")\n', "more than comments"),
    "a text that is called": ("x = 1\n", 'x = 1\n"a".upper()\n', "more than comments"),
    "a text that runs code": ("x = 1\n", 'x = 1\nf"{x()}"\n', "more than comments"),
    "a body": ("def f():\n    pass\n", 'def f():\n    """A."""\n', "more than comments"),
    "indentation": ("if a:\n    b()\nc()\n", "if a:\n    b()\n    c()\n", "more than comments"),
    "what a linter obeys": (FUNCTION, FUNCTION.replace("+ 1", "+ 1  # noqa: PLR2004"), "tools obey: # noqa: PLR2004"),
    "what a type checker obeys": ("x = f()  # type: ignore\n", "x = f()\n", "tools obey"),
    "a second of what a linter obeys": ("a()  # noqa\nb()\n", "a()  # noqa\nb()  # noqa\n", "tools obey"),
    "the first line": (FUNCTION, f"#!/bin/sh\n{FUNCTION}", "tools obey"),
    "what only the compiler refuses": (
        '"""A."""\nfrom __future__ import annotations\n',
        '"""A."""\n"b"\nfrom __future__ import annotations\n',
        "Python cannot read it",
    ),
    "no Python": ("print 'a'\n", "print 'a'  # b\n", "Python cannot read it"),
}


@pytest.mark.parametrize("name", ALLOWED)
def test_comments_and_docstrings_of_python_may_change(name: str) -> None:
    before, after = ALLOWED[name]
    assert problem_of("a.py", before.encode(), after.encode()) == ""


@pytest.mark.parametrize("name", REFUSED)
def test_nothing_else_of_python_may_change(name: str) -> None:
    before, after, words = REFUSED[name]
    assert words in problem_of("a.py", before.encode(), after.encode())


@pytest.mark.parametrize(
    ("path", "before", "after"),
    [
        ("a.js", "let a = 1;\n", "// why\nlet a = 1; /* how */\n"),
        ("a.ts", "const a: number = 1;\n", "/** How many. */\nconst a: number = 1;\n"),
        ("a.rs", "fn f() {}\n", "/// Does it.\nfn f() {}\n"),
        ("a.go", "package a\n\nfunc F() {}\n", "package a\n\n// F does it.\nfunc F() {}\n"),
        (
            "A.java",
            "class A { int f() { return 1; } }\n",
            "/** A.\n * @since 1\n */\nclass A { int f() { return 1; } }\n",
        ),
        ("a.h", "#include <a.h>\nint f(void);\n", "#include <a.h>\n/** Gives one. */\nint f(void);\n"),
    ],
)
def test_comments_of_other_languages_may_change(path: str, before: str, after: str) -> None:
    assert problem_of(path, before.encode(), after.encode()) == ""


@pytest.mark.parametrize(
    ("path", "before", "after", "words"),
    [
        ("a.js", "let a = 1;\n", "let a = 2; // one\n", "more than comments"),
        ("a.js", "x = /[/*]/; a()\n", "x = /[/*]/; b(); /* */ a()\n", "more than comments"),
        ("a.js", "let s = `${1} // b`;\n", "let s = `${1} // c`;\n", "more than comments"),
        ("a.js", "return\n1\n", "return 1\n", "more than comments"),
        ("a.js", "a()\n", "// b\u2028evil()\na()\n", "for a compiler alone"),
        ("a.js", "a()\n", "// eslint-disable-next-line\na()\n", "tools obey"),
        ("A.java", "class A {}\n", "/* \\u002a/ static int x; /* */ class A {}\n", "for a compiler alone"),
        ("a.c", "int a;\nint b;\n", "// c \\\nint a;\nint b;\n", "more than comments"),
        ("a.h", "#include <a.h>\n", "#include <b.h>\n", "more than comments"),
        ("a.go", "package a\n", "//go:build ignore\npackage a\n", "tools obey"),
        ("a.go", 'package a\n// int x;\nimport "C"\n', 'package a\n// int y;\nimport "C"\n', "are code"),
        ("a.yaml", "a: 1\n", "a: 1 # b\n", "cannot be checked in .yaml files"),
        ("Makefile", "a:\n", "# b\na:\n", "cannot be checked in such files"),
    ],
)
def test_what_cannot_be_told_from_code_is_refused(path: str, before: str, after: str, words: str) -> None:
    assert words in problem_of(path, before.encode(), after.encode())


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (None, b"x = 1\n", "a new file of code"),
        (b"x = 1\n", None, "was removed"),
        (b"x = 1\n", b"# \xff\nx = 1\n", "not UTF-8"),
        (b"x = 1\n", b"#" * (MAX_BYTES + 1), "up to 256 KiB"),
    ],
)
def test_only_a_readable_file_that_was_there_can_be_checked(
    before: bytes | None, after: bytes | None, words: str
) -> None:
    assert words in problem_of("a.py", before, after)
