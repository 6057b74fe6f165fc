"""The states that a user's repository can be in: each works, or is one clear error; and nothing of the user's changes.

Every state goes through the real command in a process of its own: a run of a one-task plan where it is to work. Work
tree, index, HEAD, configuration and hooks are compared byte for byte, with their modes and times.
"""

import hashlib
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from codexteam.core.ids import JSONObject
from tests.demo.script import report, run
from tests.scripted_api import ScriptedApi, serve_in_thread
from tests.scripted_api.script import Call, Played, message

pytestmark = [pytest.mark.complete, pytest.mark.bubblewrap, pytest.mark.timeout(600)]

_ROOT = Path(__file__).parents[2]
PLAN = """\
# Plan: Write a file

## Goal

Write a file.

## Tasks

- [ ] **T1** Write new.txt `implementer` (effort 1)
  - paths: `new.txt`
  - accept: it is there: `test -s new.txt`
"""
TASK: JSONObject = {
    "id": "T1", "title": "Write new.txt", "description": "", "role": "implementer", "deps": [], "paths": ["new.txt"],
    "acceptance": [{"criterion": "it is there", "command": "test -s new.txt"}], "effort": 1, "fixes": [],
}  # fmt: skip
PLANNED: JSONObject = {"summary": "One.", "tasks": [TASK], "later": [], "risks": [], "questions": []}
TEAM = """\
[codexteam.sandbox]
kind = "bubblewrap"
[codexteam.gates]
enabled = []
allow_unchecked = true
[codexteam.limits]
max_scouts = 0
"""


def play(call: Call) -> Played:
    """Answer as a team of one would."""
    match call.purpose:
        case "implement" if call.turn == 1:
            return [run("echo new > new.txt")]
        case "implement" | "document":
            return [report("done")]
        case "plan":
            return [message(PLANNED)]
        case _:
            return [message({"user_notes": "", "internal_notes": "", "rollout": [], "rollback": [], "checklist": []})]


@dataclass(slots=True)
class Place:
    """Where a state is set up, and how the command is to be called in it."""

    folder: Path
    root: Path
    environment: dict[str, str]
    arguments: list[str]
    stdin: bytes = b""
    marker: Path = field(init=False)
    """What a trap touches."""
    wrapper: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.marker = self.folder / "a-trap-was-sprung"

    def git(self, *arguments: str, cwd: Path | None = None, check: bool = True) -> str:
        done = subprocess.run(
            ["git", *arguments], cwd=cwd or self.root, env=self.git_environment(), capture_output=True, check=False
        )
        assert not check or done.returncode == 0, done.stderr
        return done.stdout.decode(errors="replace").strip()

    def git_environment(self) -> dict[str, str]:
        return {name: value for name, value in self.environment.items() if not name.startswith("GIT_DIR")}

    def commit(self, name: str = "a.txt", text: str = "more\n") -> None:
        (self.root / name).write_text(text)
        self.git("add", "-A")
        self.git("commit", "-qm", f"change {name}")


Build = Callable[[Place], None]


@dataclass(frozen=True, slots=True)
class State:
    """One row of the table."""

    name: str
    build: Build
    code: int
    says: tuple[str, ...]
    """Parts of what is printed."""


STATES: list[State] = []


def state(name: str, code: int, *says: str) -> Callable[[Build], Build]:
    """Add a row to the table."""

    def add(build: Build) -> Build:
        STATES.append(State(name, build, code, says))
        return build

    return add


@state("clean", 0)
def _clean(place: Place) -> None:
    pass


@state("a folder below a root that is reached by a link", 0)
def _below_a_link(place: Place) -> None:
    (place.root / "folder" / "deeper").mkdir()
    (place.folder / "link").symlink_to(place.root)
    place.root = place.folder / "link"
    place.arguments[:0] = ["-C", str(place.root / "folder" / "deeper")]


@state("not a repository", 6, "not a git repository")
def _no_repository(place: Place) -> None:
    shutil.rmtree(place.root / ".git")


@state("bare", 0, "bare")
def _bare(place: Place) -> None:
    bare = place.folder / "bare.git"
    place.git("clone", "-q", "--bare", str(place.root), str(bare))
    place.root = bare


@state("no commits", 6, "no commits yet")
def _no_commits(place: Place) -> None:
    shutil.rmtree(place.root / ".git")
    place.git("init", "-q", "-b", "trunk")


@state("a detached HEAD, changed, staged and untracked files, and a stash", 0, "detached", "Uncommitted work")
def _own_work(place: Place) -> None:
    (place.root / "a.txt").write_text("stashed\n")
    place.git("stash")
    place.git("checkout", "-q", "--detach")
    (place.root / "a.txt").write_text("the user's own\n")
    (place.root / "staged.txt").write_text("staged\n")
    place.git("add", "staged.txt")
    for name in (b"new\nline", b"-rf", b"not-\xff-utf8", b'quo"te', b"esc\x1b[2J", b"new.txt.orig"):
        Path(os.fsdecode(os.fsencode(place.root) + b"/" + name)).write_bytes(b"x\n")


@state("an untracked file where the task writes", 0, "Uncommitted work")
def _in_the_way(place: Place) -> None:
    (place.root / "new.txt").write_text("the user's own\n")


def _two_sides(place: Place) -> None:
    place.git("checkout", "-qb", "side")
    place.commit("a.txt", "side\n")
    place.git("checkout", "-q", "main")
    place.commit("a.txt", "main\n")


@state("in the middle of a merge", 6, "a merge is under way")
def _merging(place: Place) -> None:
    _two_sides(place)
    place.git("merge", "side", check=False)


@state("in the middle of a rebase", 6, "a rebase is under way")
def _rebasing(place: Place) -> None:
    _two_sides(place)
    place.git("rebase", "side", check=False)


@state("in the middle of a cherry-pick", 6, "a cherry-pick is under way")
def _picking(place: Place) -> None:
    _two_sides(place)
    place.git("cherry-pick", "side", check=False)


@state("in the middle of a bisect", 0, "bisect")
def _bisecting(place: Place) -> None:
    for number in range(4):
        place.commit("b.txt", f"{number}\n")
    place.git("bisect", "start")
    place.git("bisect", "bad", "HEAD")
    place.git("bisect", "good", "HEAD~4")


@state("a shallow clone with a sparse checkout", 0, "shallow", "parse")
def _shallow_and_sparse(place: Place) -> None:
    for number in range(4):
        place.commit("b.txt", f"{number}\n")
    place.git("clone", "-q", "--depth=2", f"file://{place.root}", str(place.folder / "shallow"))
    place.root = place.folder / "shallow"
    place.git("sparse-checkout", "set", "--cone", "nothing")


@state("a partial clone", 0, "partial")
def _partial(place: Place) -> None:
    for number in range(4):
        place.commit("b.txt", f"{number}\n")
    place.git("config", "uploadpack.allowFilter", "true")
    place.git("clone", "-q", "--filter=blob:none", f"file://{place.root}", str(place.folder / "partial"))
    place.root = place.folder / "partial"


@state("a partial clone without its files", 6, "partial")
def _partial_empty(place: Place) -> None:
    place.git("config", "uploadpack.allowFilter", "true")
    url = f"file://{place.root}"
    place.git("clone", "-q", "--filter=blob:none", "--no-checkout", url, str(place.folder / "partial"))
    place.root = place.folder / "partial"


@state("a submodule, files in Git LFS as pointers, and files with odd names", 0, "submodule", "LFS")
def _unusual_files(place: Place) -> None:
    inner = place.folder / "inner"
    place.git("clone", "-q", str(place.root), str(inner))
    place.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(inner), "sub")
    for name in (
        b"new\nline",
        b"-dash",
        b"not-\xff-utf8",
        b'quo"te',
        b"back\\slash",
        b"tab\t",
        "ünï".encode(),
        b"*",
        b"$(touch x)",
    ):
        Path(os.fsdecode(os.fsencode(place.root) + b"/" + name)).write_bytes(b"x\n")
    (place.root / ".gitattributes").write_text("*.bin filter=lfs diff=lfs merge=lfs -text\n")
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 12345\n"
    place.commit("big.bin", pointer)


@state("a linked worktree with ids of SHA-256", 0)
def _linked_sha256(place: Place) -> None:
    shutil.rmtree(place.root / ".git")
    place.git("init", "-q", "-b", "main", "--object-format=sha256")
    place.commit()
    place.git("worktree", "add", "-q", "-b", "other", str(place.folder / "linked"))
    place.root = place.folder / "linked"


@state("another owner", 6, "belongs to another user")
def _foreign(place: Place) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give files away")
    for path in (place.root, place.root / ".git"):
        os.chown(path, 4321, 4321)


def _read_only(place: Place, path: Path) -> None:
    """Make a folder read-only for everybody, root too: in a mount namespace of the command's own."""
    script = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"'
    place.wrapper = ["unshare", "--mount", "sh", "-c", script, str(path)]
    if subprocess.run([*place.wrapper, "true"], capture_output=True, check=False).returncode:
        pytest.skip("only root can make a mount")


@state("a read-only .git", 6, "--state-dir")
def _read_only_git(place: Place) -> None:
    _read_only(place, place.root / ".git")


@state("a read-only work tree", 6, "plan.md")
def _read_only_tree(place: Place) -> None:
    git_dir = place.folder / "moved.git"
    (place.root / ".git").rename(git_dir)
    (place.root / ".git").write_text(f"gitdir: {git_dir}\n")
    _read_only(place, place.root)


@state("a state folder that is a file", 6)
def _state_is_a_file(place: Place) -> None:
    (place.root / ".git" / "codexteam").write_text("not a folder\n")


@state("a state file that is not a database", 6, "state.sqlite")
def _state_is_garbage(place: Place) -> None:
    (place.root / ".git" / "codexteam").mkdir()
    (place.root / ".git" / "codexteam" / "state.sqlite").write_bytes(b"garbage " * 2000)


@state("a corrupt HEAD", 6)
def _corrupt_head(place: Place) -> None:
    (place.root / ".git" / "HEAD").write_bytes(b"\xff\x00garbage\n")


@state("a HEAD whose branch names no commit", 6)
def _dangling_head(place: Place) -> None:
    (place.root / ".git" / "refs" / "heads" / "main").write_text("1" * 40 + "\n")


@state("a corrupt index", 6)
def _corrupt_index(place: Place) -> None:
    (place.root / ".git" / "index").write_bytes(b"\xff\x00garbage\n")


@state("a corrupt configuration", 6)
def _corrupt_config(place: Place) -> None:
    (place.root / ".git" / "config").write_bytes(b"[core\n\x00")


@state("objects that are gone", 6)
def _no_objects(place: Place) -> None:
    shutil.rmtree(place.root / ".git" / "objects")
    (place.root / ".git" / "objects").mkdir()


@state("20,000 files", 0)
def _large(place: Place) -> None:
    for number in range(200):
        (place.root / f"d{number}").mkdir()
        for inner in range(100):
            (place.root / f"d{number}" / f"f{inner}.txt").write_text(f"{number} {inner}\n")
    place.git("add", "-A")
    place.git("commit", "-qm", "many")


@state("a branch that is called codexteam", 6, "codexteam")
def _branch_in_the_way(place: Place) -> None:
    place.git("branch", "codexteam")


@state("a plan.md edited into nonsense", 2, "plan.md:4")
def _nonsense(place: Place) -> None:
    (place.root / "plan.md").write_text("<!-- codexteam run x -->\n## Tasks\n\n- [?] **T1** what `implementer`\n")
    place.arguments[:] = ["run", "--plan", "plan.md"]


@state("a plan.md whose tasks wait for each other", 2, "T1")
def _cycle(place: Place) -> None:
    (place.root / "plan.md").write_text("## Tasks\n\n- [ ] **T1** a\n  - after: T2\n- [ ] **T2** b\n  - after: T1\n")
    place.arguments[:] = ["run", "--plan", "plan.md"]


@state("a plan.md that is not text", 6, "UTF-8")
def _binary_plan(place: Place) -> None:
    (place.root / "plan.md").write_bytes(b"\xff\xfe\x00")


@state("a plan.md by another tool", 2, "not written by codexteam")
def _foreign_plan(place: Place) -> None:
    (place.root / "plan.md").write_text("# Our plan\n\n- [ ] buy milk\n")


@state("a plan.md that is a folder", 6, "plan.md")
def _folder_plan(place: Place) -> None:
    (place.root / "plan.md").mkdir()


@state("an empty goal", 2, "goal is empty")
def _empty_goal(place: Place) -> None:
    place.arguments[:] = ["run", " \n\t"]


@state("an empty goal on standard input", 2, "goal is empty")
def _empty_stdin(place: Place) -> None:
    place.arguments[:] = ["run", "-"]


@state("a goal of 1 MB on standard input", 2, "at most 262,144 bytes are allowed")
def _long_goal(place: Place) -> None:
    place.arguments[:] = ["run", "-"]
    place.stdin = b"word " * 210_000


@state("a goal that is not text", 2, "not valid UTF-8")
def _binary_goal(place: Place) -> None:
    place.arguments[:] = ["run", "-"]
    place.stdin = b"\xff\xfe"


_HOOKS = (
    "pre-commit",
    "commit-msg",
    "post-commit",
    "post-checkout",
    "post-merge",
    "post-index-change",
    "reference-transaction",
)


def _hooks(place: Place, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for name in _HOOKS:
        (folder / name).write_text(f"#!/bin/sh\ntouch {place.marker}\nexit 1\n")
        (folder / name).chmod(0o755)


@state("configuration and variables of another repository that name programs", 0)
def _traps(place: Place) -> None:
    place.commit(".gitattributes", "* filter=trap diff=trap merge=trap\n")
    _hooks(place, place.root / ".githooks")
    program = f"touch {place.marker}; false"
    for key, value in {
        "core.hooksPath": ".githooks",
        "core.fsmonitor": program,
        "filter.trap.clean": program,
        "filter.trap.smudge": program,
        "diff.trap.textconv": program,
        "diff.trap.command": program,
        "diff.external": program,
        "merge.trap.driver": program,
        "core.pager": program,
        "core.editor": program,
        "core.sshCommand": program,
        "gpg.program": program,
        "credential.helper": f"!{program}",
        "commit.gpgSign": "true",
        "alias.rev-parse": f"!{program}",
    }.items():
        place.git("config", key, value)
    other = place.folder / "other"
    place.git("clone", "-q", str(place.root), str(other))
    place.environment |= {
        "GIT_DIR": str(other / ".git"),
        "GIT_WORK_TREE": str(other),
        "GIT_INDEX_FILE": str(other / ".git" / "index"),
        "GIT_EXTERNAL_DIFF": program,
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "core.fsmonitor",
        "GIT_CONFIG_VALUE_0": program,
    }


@state("hooks that fail, Python files that would be obeyed, 3,000 refs and a stale index.lock", 0)
def _failing_hooks(place: Place) -> None:
    (place.root / ".env").write_text("OPENAI_BASE_URL=http://127.0.0.1:1\nCODEX_HOME=.\n")
    for name in ("sitecustomize.py", "git.py", "typing_extensions.py", "tomllib.py"):
        (place.root / name).write_text(f"open({str(place.marker)!r}, 'w')\nraise SystemExit(9)\n")
    place.commit()
    head = place.git("rev-parse", "HEAD")
    lines = "".join(f"{head} refs/heads/b{number}\n" for number in range(3000))
    (place.root / ".git" / "packed-refs").write_text(f"# pack-refs with: peeled fully-peeled sorted \n{lines}")
    _hooks(place, place.root / ".git" / "hooks")
    (place.root / ".git" / "index.lock").write_bytes(b"")


def fingerprint(folder: Path) -> dict[str, str]:
    """Everything below a folder but what is ours: modes, times and bytes."""
    ours = {"codexteam", "plan.md"}
    found = {}
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if "objects" in parts or (ours & set(parts) and ".git" in "".join(parts)) or parts[-1] == "plan.md":
            continue
        if "codexteam" in parts or path.name == "refs":
            continue
        status = path.lstat()
        content = hashlib.sha256(path.read_bytes()).hexdigest() if stat.S_ISREG(status.st_mode) else ""
        when = status.st_mtime_ns if content else ""
        found["/".join(parts)] = f"{status.st_mode:o} {when} {content}"
    return found


@pytest.fixture(scope="module")
def api() -> Iterator[ScriptedApi]:
    with serve_in_thread(play) as server:
        yield server


@pytest.fixture
def place(tmp_path: Path, api: ScriptedApi) -> Place:
    root, home = tmp_path / "user", tmp_path / "home"
    (home / ".codex").mkdir(parents=True)
    (home / ".gitconfig").write_text("[user]\n\tname = User\n\temail = user@example.org\n[gc]\n\tauto = 0\n")
    (home / ".codex" / "config.toml").write_text(
        'model = "gpt-5.4"\nmodel_provider = "loopback"\n[model_providers.loopback]\nname = "L"\n'
        f'base_url = "{api.base_url}"\nenv_key = "LOOPBACK_KEY"\n'
    )
    (home / ".codex" / "codexteam.config.toml").write_text(TEAM)
    (tmp_path / "given.md").write_text(PLAN)
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "CODEX_HOME": str(home / ".codex"),
        "PYTHONPATH": str(_ROOT),
        "GIT_CONFIG_NOSYSTEM": "1",
        "LANG": "C.UTF-8",
        "LOOPBACK_KEY": "scripted",
    }
    made = Place(tmp_path, root, environment, ["run", "--plan", str(tmp_path / "given.md")])
    (root / "folder").mkdir(parents=True)
    (root / "folder" / "b.txt").write_text("two\n")
    made.git("init", "-q", "-b", "main")
    made.commit("a.txt", "one\n")
    return made


def _call(place: Place) -> tuple[int, str]:
    # as the installed command starts: nothing is imported from where the user stands
    argv = [*place.wrapper, sys.executable, "-P", "-m", "codexteam", *place.arguments]
    done = subprocess.run(
        argv, cwd=place.root, env=place.environment, input=place.stdin, capture_output=True, check=False, timeout=300
    )
    return done.returncode, (done.stdout + done.stderr).decode(errors="replace")


def _landed(place: Place) -> Sequence[str]:
    return place.git("for-each-ref", "--format=%(refname:short)", "refs/heads/codexteam").split()


def _one_error(output: str) -> bool:
    return output.count("error: ") == 1 and "Traceback" not in output and "unexpected" not in output


@pytest.mark.parametrize("row", STATES, ids=lambda row: row.name.replace(" ", "-"))
def test_a_state_works_or_is_one_clear_error_and_changes_nothing(place: Place, row: State) -> None:
    row.build(place)
    before: Mapping[str, str] = fingerprint(place.folder / "user") | fingerprint(place.root)
    code, output = _call(place)
    after = fingerprint(place.folder / "user") | fingerprint(place.root)
    assert code == row.code, output
    assert [words for words in row.says if words not in output] == [], output
    assert {name for name in {*before, *after} if before.get(name) != after.get(name)} == set(), output
    assert not place.marker.exists(), "a program that the repository names was run"
    if code == 0:
        assert len(_landed(place)) == 1, output
        assert "green" in output
    else:
        assert _one_error(output), output


def test_the_table_has_at_least_twenty_five_states() -> None:
    assert len({row.name for row in STATES}) == len(STATES) >= 25
