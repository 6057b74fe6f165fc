"""Paths in a repository as bytes: globs, names that no file may have, links that lead out, and scopes that overlap.

What a task may write is said in globs with `/` between folders: `*` and `?` stay inside one name, `**` takes in any
number of folders, `[ab]` is one character, `{a,b}` is either. A glob that names a folder takes in all that is below
it. Comparison is case-folded, because on some file systems `A.py` and `a.py` are one file.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache

from codexteam.core.events import Rules
from codexteam.core.text import clean_line

#: What git itself can store, and what file systems take: bytes.
MAX_PATH_BYTES = 1024
MAX_NAME_BYTES = 255
#: Folders in each other; deeper trees make every tool that walks them slow or ill.
MAX_DEPTH = 64

# What HFS+ leaves out when it compares names.
_IGNORED_BY_HFS = dict.fromkeys([*range(0x200C, 0x2010), *range(0x202A, 0x202F), *range(0x206A, 0x2070), 0xFEFF], None)
# `git~1` is the short name of `.git` on NTFS; any number is refused.
_NTFS_SHORT_GIT = re.compile(r"git~[0-9]+")
_DEVICES = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])( *[.:].*)?")
_MAX_ALTERNATIVES = 64


def decode(path: bytes) -> str:
    """Return a path as text that `encode` turns back into the same bytes."""
    return path.decode("utf-8", "surrogateescape")


def encode(path: str) -> bytes:
    return path.encode("utf-8", "surrogateescape")


def show(path: bytes) -> str:
    """Return a path for people: one line, controls and bytes that are not UTF-8 as escapes."""
    return clean_line(decode(path))


def fold(name: str) -> str:
    """Return the same text for names that some file system takes for one and the same."""
    plain = name.translate(_IGNORED_BY_HFS)
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", plain).casefold())


def is_git_name(name: str) -> bool:
    r"""Return whether some file system, or git on it, takes a name for `.git`.

    HFS+ leaves out zero-width characters, NTFS trailing dots, spaces and what follows a colon, and knows `git~1`;
    compatibility forms (a full-width letter) are counted too. A backslash parts folders on Windows.
    """
    for part in re.split(r"[\\/]", name):
        folded = unicodedata.normalize("NFKC", fold(part)).casefold().translate(_IGNORED_BY_HFS)
        bare = folded.split(":", 1)[0].rstrip(". ")
        if bare == ".git" or _NTFS_SHORT_GIT.fullmatch(bare):
            return True
    return False


def name_problem(path: bytes) -> str | None:
    """Say why no new file may have this path, or None: for messages, after the path."""
    try:
        text = path.decode()
    except UnicodeDecodeError:
        return "is not UTF-8"
    if len(path) > MAX_PATH_BYTES:
        return f"is longer than {MAX_PATH_BYTES} bytes"
    names = text.split("/")
    if len(names) > MAX_DEPTH:
        return f"lies deeper than {MAX_DEPTH} folders"
    if clean_line(text) != text:
        return "has control, bidirectional or invisible characters"
    for name in names:
        problem = _component_problem(name)
        if problem:
            return problem
    return None


def _component_problem(name: str) -> str | None:
    if name in {"", ".", ".."}:
        return "is not a plain relative path"
    if is_git_name(name):
        return "has a component that some file system takes for .git"
    if len(encode(name)) > MAX_NAME_BYTES:
        return f"has a component longer than {MAX_NAME_BYTES} bytes"
    if name[-1] in {".", " "}:
        return "has a component that ends with a dot or space"
    if "\\" in name:
        return "has a backslash, which parts folders on Windows"
    if _DEVICES.fullmatch(name.casefold()):
        return "has a component that is a device on Windows"
    return None


def glob_problem(glob: str) -> str | None:
    """Say why a task may not name a glob as what it writes, or None: for messages, after the glob."""
    parts = glob.split("/")
    if glob.startswith(("/", "~")) or ".." in parts or re.match(r"[A-Za-z]:", glob):
        return "leaves the repository"
    if "\\" in glob:
        return "has a backslash: folders are parted by `/`"
    if not _normal(glob):
        return "names no file"
    if clean_line(glob) != glob:
        return "has control, bidirectional or invisible characters"
    return "lies in .git" if any(map(is_git_name, parts)) else None


def link_problem(path: bytes, target: bytes) -> str | None:
    """Say why a symbolic link at `path` may not point to `target`, or None."""
    if not target or len(target) > MAX_PATH_BYTES:
        return f"has a target that is empty or longer than {MAX_PATH_BYTES} bytes"
    text = decode(target)
    if clean_line(text) != text:
        return "has a target with control, invisible or non-UTF-8 characters"
    if text.startswith(("/", "\\")) or re.match(r"[A-Za-z]:", text):
        return "has an absolute target"
    depth = path.count(b"/")
    for name in re.split(r"[\\/]", text):
        if is_git_name(name):
            return "points into .git"
        if name == "..":
            depth -= 1
        elif name not in {"", "."}:
            depth += 1
        if depth < 0:
            return "points out of the repository"
    return None


def matches_any(path: bytes, globs: Sequence[str]) -> bool:
    """Return whether a path, or a folder it lies in, matches one of the globs."""
    folded = decode(path).casefold()
    return any(_matches(glob, folded) for glob in globs)


def names_exactly(path: bytes, globs: Sequence[str]) -> bool:
    """Return whether one of the globs is this very path, and no pattern."""
    folded = decode(path).casefold()
    return any(_normal(glob) == folded for glob in globs)


def _normal(glob: str) -> str:
    parts = [part for part in glob.casefold().split("/") if part not in {"", "."}]
    return "/".join(parts)


def _matches(glob: str, folded: str) -> bool:
    normal = _normal(glob)
    # a name may have brackets in it (`app/[id]/page.tsx`): the glob as it stands counts too
    if normal and (folded == normal or folded.startswith(normal + "/")):
        return True
    names = folded.split("/")
    return any(_segments_match(segments, names) for segments in _alternatives(normal))


@lru_cache(maxsize=4096)
def _alternatives(glob: str) -> tuple[tuple[str, ...], ...]:
    """Expand braces, and give each result's segments with `**` at the end."""
    done: list[str] = []
    waiting = [glob]
    while waiting and len(done) + len(waiting) <= _MAX_ALTERNATIVES:
        text = waiting.pop()
        found = re.search(r"\{([^{}]*,[^{}]*)\}", text)
        if found is None:
            done.append(text)
        else:
            waiting += [text[: found.start()] + choice + text[found.end() :] for choice in found[1].split(",")]
    expanded = (tuple(part for part in text.split("/") if part) for text in done + waiting)
    return tuple(parts if parts[-1] == "**" else (*parts, "**") for parts in expanded if parts)


def _segments_match(segments: Sequence[str], names: Sequence[str]) -> bool:
    """Match folder by folder; only the last `**` is gone back to, so it takes no more than segments x names steps."""
    at = name = 0
    retry: tuple[int, int] | None = None
    while name < len(names):
        if at < len(segments) and segments[at] == "**":
            retry = (at, name)
            at += 1
        elif at < len(segments) and _name_matches(segments[at], names[name]):
            at, name = at + 1, name + 1
        elif retry is not None:
            retry = (retry[0], retry[1] + 1)
            at, name = retry[0] + 1, retry[1]
        else:
            return False
    return all(segment == "**" for segment in segments[at:])


def _name_matches(pattern: str, name: str) -> bool:
    tokens = _tokens(pattern)
    at = index = 0
    retry: tuple[int, int] | None = None
    while index < len(name):
        if at < len(tokens) and tokens[at] is None:
            retry = (at, index)
            at += 1
        elif at < len(tokens) and _character_matches(tokens[at], name[index]):
            at, index = at + 1, index + 1
        elif retry is not None:
            retry = (retry[0], retry[1] + 1)
            at, index = retry[0] + 1, retry[1]
        else:
            return False
    return all(token is None for token in tokens[at:])


@lru_cache(maxsize=4096)
def _tokens(pattern: str) -> tuple[str | None, ...]:
    """Return a name's pattern as characters, `?`, classes (`[...`) and None for `*`."""
    tokens: list[str | None] = []
    at = 0
    while at < len(pattern):
        end = pattern.find("]", at + 2) if pattern[at] == "[" else -1
        if end > 0:
            tokens.append(pattern[at:end])
            at = end + 1
            continue
        tokens.append(None if pattern[at] == "*" else pattern[at])
        at += 1
    return tuple(tokens)


def _character_matches(expected: str | None, character: str) -> bool:
    if expected is None or expected == "?":
        return expected == "?"
    if len(expected) == 1 or expected[0] != "[":
        return expected == character
    body = expected[1:]
    negated = body[0] in "!^" and len(body) > 1
    body = body[1:] if negated else body
    inside = any(low <= character <= (high or low) for low, high in re.findall(r"(.)(?:-(.))?", body, re.DOTALL))
    return inside is not negated


#: Git's own: attributes and submodules name programs and places that later git commands obey.
_GIT = ("**/.git", "**/.gitattributes", "**/.gitmodules", "**/.lfsconfig", "**/.gitconfig", "**/.mailmap")
#: Run by the user's git, shell or editor on its own.
_HOOKS = (
    ".githooks",
    ".git-hooks",
    "**/.husky",
    ".pre-commit-config.yaml",
    ".pre-commit-hooks.yaml",
    "lefthook.y*ml",
    ".lefthook*",
    "**/.envrc",
    "**/.vscode",
    "**/.idea",
    "**/.devcontainer",
    "**/.devcontainer.json",
)
#: Run by CI, with CI's secrets.
_CI = (
    ".github",
    "**/action.y*ml",
    "**/CODEOWNERS",
    "**/.gitlab-ci*.y*ml",
    ".gitlab",
    ".circleci",
    ".buildkite",
    ".ci",
    ".travis.yml",
    ".drone.yml",
    ".woodpecker*",
    "azure-pipelines*.y*ml",
    ".azure-pipelines",
    "bitbucket-pipelines.yml",
    "**/Jenkinsfile*",
    "appveyor.yml",
    ".appveyor.yml",
    ".cirrus.yml",
    ".semaphore",
    ".forgejo",
    ".gitea",
)
#: Where packages come from.
_REGISTRIES = ("**/.npmrc", "**/.yarnrc*", "**/.pnpmfile.cjs", "**/pip.conf", "**/.pypirc", "**/.cargo/config*")
#: What steers agents, codexteam's own files among it.
_AGENTS = (
    "**/.codex",
    "**/.agents",
    "**/.claude",
    "**/.cursor",
    "**/.mcp.json",
    "**/AGENTS.md",
    "**/AGENTS.override.md",
    "**/CLAUDE.md",
    "plan.md",
    ".worktreeinclude",
)

#: The built-in guarded globs.
GUARDED_PATHS: tuple[str, ...] = _GIT + _HOOKS + _CI + _REGISTRIES + _AGENTS


def guarded_among(globs: Iterable[str], more: Sequence[str] = ()) -> tuple[str, ...]:
    """Return those of a task's globs that name what is guarded; a wider one, such as `**`, names none of it."""
    return tuple(glob for glob in globs if _is_guarded(glob, tuple(more)))


def closed_among(globs: Iterable[str], granted: Sequence[str], rules: Rules) -> tuple[str, ...]:
    """Return the guarded globs of a task that neither a person nor the settings have opened."""
    named = guarded_among(globs, rules.guarded)
    if not named:
        return ()
    open_globs = (*rules.allow_guarded, *guarded_among(granted, rules.guarded))
    return tuple(glob for glob in named if glob not in granted and not matches_any(encode(_plain(glob)), open_globs))


@lru_cache(maxsize=65_536)
def _is_guarded(glob: str, more: tuple[str, ...]) -> bool:
    return matches_any(encode(_plain(glob)), (*GUARDED_PATHS, *more))


def _plain(glob: str) -> str:
    return "/".join(part for part in glob.split("/") if part not in {"", "."})


def scopes_overlap(one: Sequence[str], other: Sequence[str]) -> bool:
    """Return whether some path matches a glob of each; when in doubt, yes.

    A glob that names a folder takes in what is below it. An empty scope holds no glob: nothing matches it.
    """
    return any(_meet(a, b) for a in one for b in other)


def may_clash(one: Sequence[str], other: Sequence[str]) -> bool:
    """Return whether two tasks could write the same path; one that names no paths could write any."""
    return not one or not other or scopes_overlap(one, other)


def _meet(one: str, other: str) -> bool:
    if _is_literal(one) and _is_literal(other):  # the common case, and many times cheaper
        a, b = _folded(one), _folded(other)
        return a == b or a.startswith(f"{b}/") or b.startswith(f"{a}/")
    return _overlap(one, other) if one <= other else _overlap(other, one)


@lru_cache(maxsize=65_536)
def _is_literal(glob: str) -> bool:
    return not any(char in glob for char in "*?[")


@lru_cache(maxsize=65_536)
def _folded(path: str) -> str:
    return "/".join(part for part in path.casefold().split("/") if part not in {"", "."})


@lru_cache(maxsize=65_536)
def _overlap(one: str, other: str) -> bool:
    return _segments_meet(_segments(one), _segments(other))


def _segments(glob: str) -> tuple[str, ...]:
    # compared case-folded: on some file systems A.py and a.py are one file
    parts = tuple(part for part in glob.casefold().split("/") if part not in {"", "."})
    return parts if parts[-1:] == ("**",) else (*parts, "**")


def _segments_meet(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    if not one or not other:
        return all(part == "**" for part in one + other)
    if one[0] == "**":
        return _segments_meet(one[1:], other) or _segments_meet(one, other[1:])
    if other[0] == "**":
        return _segments_meet(one, other[1:]) or _segments_meet(one[1:], other)
    return _parts_meet(one[0], other[0]) and _segments_meet(one[1:], other[1:])


@lru_cache(maxsize=65_536)
def _parts_meet(one: str, other: str) -> bool:
    """Return whether some name matches both; `[...]` counts as any character."""
    if not one or not other:
        return not (one + other).strip("*")
    if one[0] == "*":
        return _parts_meet(one[1:], other) or _parts_meet(one, other[1:])
    if other[0] == "*":
        return _parts_meet(one, other[1:]) or _parts_meet(one[1:], other)
    first, one_rest = _take(one)
    second, other_rest = _take(other)
    return (first == second or "?" in {first, second}) and _parts_meet(one_rest, other_rest)


def _take(part: str) -> tuple[str, str]:
    """Take one character off a part; a class is any character."""
    if part[0] == "[" and "]" in part[2:]:
        return "?", part[part.index("]", 2) + 1 :]
    return part[0], part[1:]
