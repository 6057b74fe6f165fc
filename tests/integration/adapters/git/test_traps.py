"""Programs that a repository can make git run. Each trap is first seen to work on an unprotected call.

Planted twice: in the user's own repository (configuration, hooks, tracked files), where codexteam may read but must run
nothing, and in what an agent hands out.
"""

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from codexteam.core.paths import GUARDED_PATHS
from codexteam.ports.repo import Accepted, Conflict, IntakePolicy, Merged
from tests.support_git import FREE, RUN, WHO, Desk, git, make_user, open_desk

pytestmark = pytest.mark.slow

HOOKS = (
    "applypatch-msg", "pre-applypatch", "post-applypatch", "pre-commit", "pre-merge-commit", "prepare-commit-msg", "commit-msg",
    "post-commit",
    "pre-rebase", "post-checkout", "post-merge", "pre-push", "pre-receive", "update", "proc-receive", "post-receive",
    "post-update", "reference-transaction", "push-to-checkout",
    "pre-auto-gc", "post-rewrite", "sendemail-validate",
    "fsmonitor-watchman", "post-index-change",
)  # fmt: skip


@dataclass
class Trap:
    """A marker file and the commands that would make it."""

    marker: Path

    def command(self, after: str = "") -> str:
        """Give a shell command that leaves the marker."""
        return f"touch {self.marker}; {after}"

    def sprung(self) -> bool:
        """Say whether it went off, and set it again."""
        was = self.marker.exists()
        self.marker.unlink(missing_ok=True)
        return was


@pytest.fixture
def trap(tmp_path: Path) -> Trap:
    return Trap(tmp_path / "marker")


@pytest.fixture
def user(tmp_path: Path) -> Path:
    root = tmp_path / "user"
    make_user(root, {"a.txt": b"one\ntwo\nthree\n", "b.txt": b"b\n"})
    return root


def _set(root: Path, key: str, value: str) -> None:
    git(root, "config", key, value)


def _attributes(root: Path, text: str) -> None:
    (root / ".gitattributes").write_text(text)
    git(root, "add", ".gitattributes", check=False)
    tree = git(root, "write-tree").decode().strip()
    commit = git(root, "commit-tree", "-p", "HEAD", "-m", "attributes", tree).decode().strip()
    git(root, "-c", "core.hooksPath=/dev/null", "update-ref", "HEAD", commit)


def _touch_work_tree(root: Path) -> None:
    (root / "a.txt").write_text("one\ntwo\nTHREE\n")
    os.utime(root / "b.txt", (1, 1))


def _changed_then(root: Path, *argv: str) -> None:
    _touch_work_tree(root)
    git(root, *argv, check=False)


# each gives an unprotected command that springs the trap; it has planted it before


def _fsmonitor(root: Path, trap: Trap) -> Callable[[], object]:
    _set(root, "core.fsmonitor", trap.command("false") + " #")
    return lambda: git(root, "status")


def _hooks_folder(root: Path, trap: Trap) -> Callable[[], object]:
    for name in HOOKS:
        hook = root / ".git/hooks" / name
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f"#!/bin/sh\n{trap.command('exit 0')}\n")
        hook.chmod(0o755)
    return lambda: git(root, "update-ref", "refs/heads/probe", "HEAD")


def _hooks_path(root: Path, trap: Trap) -> Callable[[], object]:
    folder = root / ".githooks"
    folder.mkdir()
    for name in HOOKS:
        (folder / name).write_text(f"#!/bin/sh\n{trap.command('exit 0')}\n")
        (folder / name).chmod(0o755)
    _set(root, "core.hooksPath", ".githooks")
    return lambda: git(root, "commit", "--allow-empty", "-qm", "x")


def _clean(root: Path, trap: Trap) -> Callable[[], object]:
    _set(root, "filter.x.clean", trap.command("cat"))
    _attributes(root, "* filter=x\n")
    return lambda: _changed_then(root, "status")


def _smudge(root: Path, trap: Trap) -> Callable[[], object]:
    _set(root, "filter.x.smudge", trap.command("cat"))
    _attributes(root, "* filter=x\n")

    def spring() -> None:
        (root / "a.txt").unlink()
        git(root, "checkout", "--", "a.txt")

    return spring


def _process(root: Path, trap: Trap) -> Callable[[], object]:
    _set(root, "filter.x.process", trap.command("false"))
    _attributes(root, "* filter=x\n")
    return lambda: _changed_then(root, "status")


def _external_diff(root: Path, trap: Trap) -> Callable[[], object]:
    _set(root, "diff.external", trap.command("true") + " #")
    return lambda: _changed_then(root, "diff")


def _diff_command(root: Path, trap: Trap) -> Callable[[], object]:
    _set(root, "diff.x.command", trap.command("true") + " #")
    _attributes(root, "*.txt diff=x\n")
    return lambda: _changed_then(root, "diff")


def _textconv(root: Path, trap: Trap) -> Callable[[], object]:
    _set(root, "diff.x.textconv", trap.command("cat") + " #")
    _attributes(root, "*.txt diff=x\n")
    return lambda: git(root, "log", "-p", check=False)


def _alias(root: Path, trap: Trap) -> Callable[[], object]:
    for name in ("lg", "merge-tree", "cat-file", "ls-tree", "diff-tree", "update-ref", "pack-objects", "rev-parse"):
        _set(root, f"alias.{name}", f"!{trap.command('true')} #")
    return lambda: git(root, "lg")


def _merge_driver(root: Path, trap: Trap) -> Callable[[], object]:
    _set(root, "merge.x.driver", trap.command("true") + " #")
    _attributes(root, "*.txt merge=x\n")

    def spring() -> None:
        git(root, "checkout", "-qb", "side")
        (root / "a.txt").write_text("ONE\ntwo\nthree\n")
        git(root, "commit", "-qam", "side")
        git(root, "checkout", "-q", "main")
        (root / "a.txt").write_text("one\ntwo\nTHREE\n")
        git(root, "commit", "-qam", "main")
        git(root, "merge", "-q", "--no-edit", "side", check=False)

    return spring


def _pack_hook(root: Path, trap: Trap) -> Callable[[], object]:
    hook = root.parent / "pack-hook"
    hook.write_text(f'#!/bin/sh\n{trap.command("")}\nexec "$@"\n')
    hook.chmod(0o755)
    _set(root, "uploadpack.packObjectsHook", str(hook))
    # git obeys it only from the user's own file
    personal = root.parent / "personal"
    personal.write_text(f"[uploadpack]\n\tpackObjectsHook = {hook}\n")

    def spring() -> None:
        target = root.parent / "clone"
        environment = {**os.environ, "GIT_CONFIG_GLOBAL": str(personal)}
        subprocess.run(["git", "clone", "-q", f"file://{root}", str(target)], check=True, env=environment)

    return spring


def _ext_remote(root: Path, trap: Trap) -> Callable[[], object]:
    _set(root, "remote.origin.url", f"ext::sh -c touch% {trap.marker}")
    _set(root, "remote.origin.promisor", "true")
    _set(root, "protocol.ext.allow", "always")
    return lambda: git(root, "fetch", "origin", check=False)


def _signing(root: Path, trap: Trap) -> Callable[[], object]:
    program = root.parent / "gpg"
    program.write_text(f"#!/bin/sh\n{trap.command('false')}\n")
    program.chmod(0o755)
    for key in ("gpg.program", "gpg.ssh.program", "gpg.x509.program"):
        _set(root, key, str(program))
    _set(root, "commit.gpgSign", "true")
    return lambda: git(root, "commit", "--allow-empty", "-qm", "x", check=False)


def _submodule_update(root: Path, trap: Trap) -> Callable[[], object]:
    inner = root.parent / "inner"
    make_user(inner, {"s.txt": b"s\n"})
    git(root, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(inner), "sub")
    git(root, "commit", "-qm", "submodule")
    first = git(inner, "rev-parse", "HEAD").decode().strip()
    _set(root, "submodule.sub.update", f"!{trap.command('true')} #")
    _set(root, "submodule.recurse", "true")
    git(inner, "commit", "--allow-empty", "-qm", "second")
    git(root / "sub", "-c", "protocol.file.allow=always", "fetch", "-q", "origin")
    git(root / "sub", "checkout", "-q", "FETCH_HEAD", check=False)

    def spring() -> None:
        assert first
        git(root / "sub", "checkout", "-q", "origin/main")
        git(root, "submodule", "update", check=False)

    return spring


def _nested_monitor(root: Path, trap: Trap) -> Callable[[], object]:
    inner = root / "nested"
    make_user(inner, {"n.txt": b"n\n"})
    _set(inner, "core.fsmonitor", trap.command("false") + " #")
    git(root, "add", "nested", check=False)
    git(root, "commit", "-qm", "a repository inside")
    return lambda: git(root, "status")


def _ssh_and_askpass(root: Path, trap: Trap) -> Callable[[], object]:
    _set(root, "core.sshCommand", trap.command("false") + " #")
    _set(root, "core.askPass", str(root / "nowhere"))
    _set(root, "credential.helper", f"!{trap.command('true')} #")
    _set(root, "remote.origin.url", "ssh://example.invalid/x")
    _set(root, "remote.origin.promisor", "true")
    _set(root, "extensions.partialClone", "origin")
    _set(root, "core.repositoryFormatVersion", "1")
    return lambda: git(root, "fetch", "origin", check=False)


def _include(root: Path, trap: Trap) -> Callable[[], object]:
    (root / ".gitconfig-shared").write_text(f'[core]\n\tfsmonitor = "{trap.command("false")} #"\n')
    _set(root, "include.path", "../.gitconfig-shared")
    return lambda: git(root, "status")


TRAPS = [
    _fsmonitor, _hooks_folder, _hooks_path, _clean, _smudge, _process, _external_diff, _diff_command, _textconv, _alias,
    _merge_driver, _pack_hook, _ext_remote, _signing, _submodule_update, _nested_monitor, _ssh_and_askpass, _include,
]  # fmt: skip


async def _everything(desk: Desk) -> None:
    """Do everything that a run does with a repository, but for `apply`."""
    repo = desk.repo
    await repo.inspect()
    await repo.base_source(RUN, desk.base)
    one = await desk.taken({b"a.txt": b"ONE\ntwo\nthree\n", b"new.txt": b"new\n"})
    two = await desk.taken({b"a.txt": b"one\ntwo\nTHREE\n"})
    clash = await desk.taken({b"a.txt": b"one\nTWO\nthree\n"})
    first = await repo.merge(desk.base, one, "one", WHO)
    assert isinstance(first, Merged)
    await repo.forecast(first.commit, two)
    assert isinstance(await repo.merge(first.commit, clash, "clash", WHO), Conflict | Merged)
    await repo.diff_text(desk.base, first.commit, limit_bytes=1 << 20)
    await repo.changes(desk.base, first.commit)
    await repo.list_files(first.commit)
    await repo.read_blob(first.commit, b"a.txt", limit_bytes=1 << 20)
    await repo.overlay(first.commit, desk.base, [b"a.txt"])
    assert await repo.update_branch(RUN, first.commit, None)
    await repo.base_source(RUN, first.commit)
    await repo.land(RUN, first.commit)
    await repo.land(RUN, first.commit)
    await repo.keep(RUN, "T1.1", desk.snapshot({b"x": b"x\n"}))
    for work in await repo.kept_work():
        desk.export(work, desk.folder / "x.patch")
    await repo.clean(RUN)


@pytest.mark.parametrize("plant", TRAPS)
async def test_nothing_that_the_users_repository_names_is_run(
    plant: Callable[[Path, Trap], Callable[[], object]], user: Path, trap: Trap, tmp_path: Path
) -> None:
    spring = plant(user, trap)
    trap.sprung()
    _touch_work_tree(user)
    before = _state_of(user)
    desk = await open_desk(user, tmp_path)
    await _everything(desk)
    await desk.repo.close()
    assert not trap.sprung(), "an operation of codexteam ran the user's repository's program"
    assert _state_of(user) == before, "work tree, index, HEAD, configuration or hooks were touched"
    spring()
    assert trap.sprung(), "the trap does not work, so that it was not seen proves nothing"


def _state_of(root: Path) -> dict[str, object]:
    """Give all that must stay as it was: every file but objects, our refs and their logs."""
    left_out = (
        "objects",
        f"refs/heads/codexteam/{RUN}",
        "refs/heads/codexteam",
        f"logs/refs/heads/codexteam/{RUN}",
        "logs/refs/heads/codexteam",
    )
    found: dict[str, object] = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        inside = name.removeprefix(".git/")
        if name.startswith(".git/") and (inside in left_out or inside.startswith("objects/")):
            continue
        if path.is_file() and not path.is_symlink():
            found[name] = (path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_mode)
    return found


AGENT_ATTRIBUTES = b"* filter=x diff=x merge=x ident text working-tree-encoding=UTF-16\n*.txt -diff binary\n"


async def test_attributes_from_an_agent_have_no_say_though_a_task_may_write_them(
    user: Path, trap: Trap, tmp_path: Path
) -> None:
    """The drivers that an agent's attributes name are configured by the user, so they would run."""
    for key in ("filter.x.clean", "filter.x.smudge", "diff.x.textconv"):
        _set(user, key, trap.command("cat") + " #")
    for key in ("filter.x.process", "diff.x.command", "merge.x.driver"):
        _set(user, key, trap.command("true") + " #")
    desk = await open_desk(user, tmp_path)
    free = IntakePolicy((".gitattributes",), GUARDED_PATHS, opened=(".gitattributes",))
    edits = {b".gitattributes": AGENT_ATTRIBUTES, b"a.txt": b"ONE\ntwo\nthree\n", b"u.txt": b"text\n"}
    intake = await desk.repo.intake(desk.snapshot(edits), replace(free, allowed=(".gitattributes", "*.txt")))
    assert isinstance(intake, Accepted)
    one = await desk.repo.commit(intake.tree, [desk.base], "attributes", WHO)
    two = await desk.taken({b"a.txt": b"one\ntwo\nTHREE\n"})
    assert isinstance(await desk.repo.merge(one, two, "two", WHO), Merged), "a driver or its absence decided the merge"
    text, cut = await desk.repo.diff_text(desk.base, one, limit_bytes=1 << 20)
    assert "-one\n+ONE\n" in text
    assert "Binary files" not in text
    assert not cut
    assert await desk.repo.read_blob(one, b"u.txt", limit_bytes=99) == b"text\n"
    await desk.repo.update_branch(RUN, one, None)
    await desk.repo.land(RUN, one)
    await desk.repo.close()
    assert not trap.sprung()
    git(user, "checkout", "-q", f"codexteam/{RUN}", check=False)
    assert trap.sprung(), "the trap does not work"


async def test_an_agents_repository_is_never_opened(desk: Desk, trap: Trap, tmp_path: Path) -> None:
    """A workspace whose `.git` names programs: the host sees its pack alone."""
    work = tmp_path / "workspace"
    source = await desk.repo.base_source(RUN, desk.base)
    work.mkdir()
    shutil.unpack_archive(source.root_archive, work, "tar", filter="data")
    git(work, "reset", "-q", "--hard")
    _hooks_folder(work, trap)
    _set(work, "core.fsmonitor", trap.command("false") + " #")
    _set(work, "core.alternateRefsCommand", trap.command("true") + " #")
    (work / "a.txt").write_text("changed\n")
    git(work, "commit", "-qam", "work")
    assert trap.sprung(), "the trap does not work"
    tip = git(work, "rev-parse", "HEAD").decode().strip()
    trap.sprung()
    pack = tmp_path / "work.pack"
    pack.write_bytes(git(work, "pack-objects", "--thin", "--revs", "--stdout", data=f"{tip}\n^{desk.base}\n".encode()))
    trap.sprung()
    snapshot = replace(desk.snapshot({b"x": b""}), tip=tip, pack=pack)
    assert isinstance(await desk.repo.intake(snapshot, FREE), Accepted)
    assert not trap.sprung()


@pytest.mark.parametrize(
    "inherited",
    [
        ("GIT_DIR", "/nonexistent"),
        ("GIT_INDEX_FILE", "/nonexistent/index"),
        ("GIT_WORK_TREE", "/nonexistent"),
        ("GIT_OBJECT_DIRECTORY", "/nonexistent"),
        ("GIT_EXTERNAL_DIFF", "touch {marker}; true #"),
        ("GIT_CONFIG_PARAMETERS", "'core.fsmonitor=touch {marker}; false #'"),
        ("GIT_CONFIG_COUNT", "1"),
        ("GIT_SSH_COMMAND", "touch {marker}; false #"),
        ("GIT_NAMESPACE", "other"),
        ("GIT_ALTERNATE_OBJECT_DIRECTORIES", "/nonexistent"),
        ("GIT_TRACE", "{marker}"),
    ],
)
async def test_inherited_variables_do_not_steer_git(
    user: Path, trap: Trap, monkeypatch: pytest.MonkeyPatch, inherited: tuple[str, str]
) -> None:
    variable, value = inherited
    monkeypatch.setenv(variable, value.format(marker=trap.marker))
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "core.fsmonitor")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", trap.command("false") + " #")
    desk = await open_desk(user, user.parent)
    clean = {
        name: os.environ[name] for name in ("GIT_CONFIG_KEY_0", "GIT_CONFIG_VALUE_0", variable) if name in os.environ
    }
    seen = (await desk.repo.inspect()).head
    # packs are made with the tests' own git, which is not protected
    for name in clean:
        monkeypatch.delenv(name)
    snapshot = desk.snapshot({b"a.txt": b"x\n"})
    for name, given in clean.items():
        monkeypatch.setenv(name, given)
    intake = await desk.repo.intake(snapshot, FREE)
    assert isinstance(intake, Accepted)
    commit = await desk.repo.commit(intake.tree, [desk.base], "x", WHO)
    assert await desk.repo.land(RUN, commit)
    await desk.repo.close()
    assert seen == desk.base
    assert not trap.sprung()
