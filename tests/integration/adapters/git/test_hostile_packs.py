"""What a sandbox could hand out, and that each is refused with its reason, in time, and leaves nothing in the hub."""

import base64
import hashlib
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from codexteam.core.ids import CommitId
from codexteam.ports.repo import Accepted, Intake, IntakeRefused
from codexteam.ports.sandbox import Snapshot
from tests.support_git import FREE, Desk, git, make_user, open_desk
from tests.support_packs import Edit, Workshop, write_pack
from tests.support_processes import worked_seconds

pytestmark = pytest.mark.slow


def _rules(intake: Intake) -> set[str]:
    assert isinstance(intake, IntakeRefused), intake
    return {violation.rule for violation in intake.violations}


def _objects(desk: Desk) -> bytes:
    return git(desk.hub, "--git-dir=.", "cat-file", "--batch-all-objects", "--batch-check=%(objectname)")


def _shop(desk: Desk) -> Workshop:
    return Workshop(desk.folder / "packs")


@pytest.fixture
def untouched(desk: Desk) -> Callable[[], None]:
    before = _objects(desk)

    def check() -> None:
        assert _objects(desk) == before, "something of a refused pack is in the hub"
        assert not list((desk.state / "quarantine").glob("*")), "a quarantine was left"

    return check


async def test_a_small_pack_of_ten_billion_files_is_refused_at_once(desk: Desk, untouched: Callable[[], None]) -> None:
    shop = _shop(desk)
    node = shop.blob(b"")
    mode = "100644"
    for _ in range(10):
        node = shop.tree([(mode, b"%d" % n, node) for n in range(10)])
        mode = "40000"
    snapshot = shop.snapshot(node, desk.base)
    assert snapshot.pack_bytes < 2_000
    began = worked_seconds()
    intake = await desk.repo.intake(snapshot, FREE)
    assert worked_seconds() - began < 5
    assert _rules(intake) == {"size"}
    assert isinstance(intake, IntakeRefused)
    assert "expands to 11111111110 files" in intake.violations[0].message
    untouched()


async def test_a_bomb_of_a_number_too_long_to_print_is_refused(desk: Desk) -> None:
    shop = _shop(desk)
    node = shop.blob(b"")
    mode = "100644"
    for _ in range(60):
        node = shop.tree([(mode, b"%03d" % n, node) for n in range(300)])
        mode = "40000"
    assert _rules(await desk.repo.intake(shop.snapshot(node, desk.base), FREE)) == {"size"}


async def test_a_bomb_hidden_beside_honest_work_is_refused(desk: Desk) -> None:
    shop = _shop(desk)
    node = shop.tree([("100644", b"%d" % n, shop.blob(b"")) for n in range(200)])
    for _ in range(3):
        node = shop.tree([("40000", b"%d" % n, node) for n in range(200)])
    tree = shop.tree([("100644", b"a.txt", shop.blob(b"x")), ("40000", b"folder", node)])
    assert _rules(await desk.repo.intake(shop.snapshot(tree, desk.base), FREE)) == {"size"}


async def test_deep_trees_are_refused(desk: Desk, untouched: Callable[[], None]) -> None:
    shop = _shop(desk)
    node = shop.tree([("100644", b"f", shop.blob(b"x"))])
    for _ in range(3000):
        node = shop.tree([("40000", b"d", node)])
    began = worked_seconds()
    assert _rules(await desk.repo.intake(shop.snapshot(node, desk.base), FREE)) == {"size"}
    assert worked_seconds() - began < 10
    untouched()


@pytest.mark.parametrize(
    "name",
    [
        b".git", b".GIT", b".Git", b"git~1", b"GIT~1", ".g\u200cit".encode(), b".git.", b".git ", b".git::$INDEX_ALLOCATION",
        b".git\\config", b"..", b".", "\uff0egit".encode(), "\u202e.git".encode(),
    ],
)  # fmt: skip
@pytest.mark.parametrize("where", ["top", "deep"])
async def test_dot_git_in_any_spelling_is_refused(
    desk: Desk, name: bytes, where: str, untouched: Callable[[], None]
) -> None:
    shop = _shop(desk)
    inner = shop.tree([("100644", b"config", shop.blob(b"[core]\n\tfsmonitor = touch /tmp/pwned\n"))])
    tree = shop.tree([("40000", name, inner)])
    if where == "deep":
        tree = shop.tree([("40000", b"sub", tree)])
    assert _rules(await desk.repo.intake(shop.snapshot(tree, desk.base), FREE)) <= {"pack", "name", "guarded"}
    untouched()


@pytest.mark.parametrize(
    "name",
    [
        b"new\nline", b"esc\x1b[2Jape", b"tab\tbed",
        b"not-\xff-utf8", "bidi\u202ename".encode(), "zero\u200bwidth".encode(), b"dot.",
        b"space ", b"nul", b"COM1.txt", b"back\\slash", b"n" * 300, b"\x7fdel",
    ],
)  # fmt: skip
async def test_new_names_that_harm_somebody_are_refused(desk: Desk, name: bytes) -> None:
    intake = await desk.take({b"folder/" + name: b"x\n"})
    assert _rules(intake) == {"name"}
    assert isinstance(intake, IntakeRefused)
    shown = intake.violations[0].message + intake.violations[0].path
    assert "\n" not in shown
    assert "\x1b" not in shown
    assert shown.isprintable()


async def test_a_leading_dash_is_a_name_like_others(desk: Desk) -> None:
    new = await desk.taken({b"-rf": b"x\n", b"--output=x": b"y\n"})
    assert await desk.repo.read_blob(new, b"--output=x", limit_bytes=9) == b"y\n"
    assert "--output=x" in (await desk.repo.diff_text(desk.base, new, limit_bytes=9999))[0]


@pytest.mark.parametrize("mode", ["100666", "100600", "40755", "160000", "120755", "100000"])
async def test_other_kinds_of_entries_are_refused(desk: Desk, mode: str, untouched: Callable[[], None]) -> None:
    shop = _shop(desk)
    target = desk.base if mode == "160000" else shop.blob(b"x")
    tree = shop.tree([(mode, b"odd", target), ("100644", b"a.txt", shop.blob(b"one\ntwo\n"))])
    assert _rules(await desk.repo.intake(shop.snapshot(tree, desk.base), FREE)) <= {"mode", "pack", "size"}
    untouched()


@pytest.mark.parametrize(
    "target", ["/etc/passwd", "../../x", "../.git/config", ".git/hooks", "a/../../..", "C:\\x", "x" * 3000, "a\nb"]
)
async def test_links_that_lead_out_are_refused(desk: Desk, target: str) -> None:
    assert _rules(await desk.take({b"folder/l": target})) <= {"link", "pack"}


async def test_a_link_inside_is_taken(desk: Desk) -> None:
    assert isinstance(await desk.take({b"folder/l": "../a.txt"}), Accepted)


@pytest.mark.parametrize("other", [b"A.txt", b"A.TXT", "a.t\u200dxt".encode()])
async def test_a_name_that_equals_a_sibling_on_some_file_systems_is_refused(desk: Desk, other: bytes) -> None:
    assert _rules(await desk.take({other: b"x\n"})) == {"name"}


async def test_composed_and_decomposed_names_are_one(desk: Desk) -> None:
    assert _rules(await desk.take({"\u00e9.txt".encode(): b"1", "e\u0301.txt".encode(): b"2"})) == {"name"}
    assert _rules(await desk.take({b"New/x": b"1", b"new/y": b"2"})) == {"name"}


async def test_a_folder_that_looks_like_a_repository_is_refused(desk: Desk) -> None:
    bare: dict[bytes, Edit] = {
        b"fixture/HEAD": b"ref: refs/heads/x\n",
        b"fixture/objects/keep": b"",
        b"fixture/refs/keep": b"",
        b"fixture/config": b"[core]\n\tfsmonitor = touch /tmp/pwned\n",
    }
    assert _rules(await desk.take(bare)) == {"name"}


@pytest.mark.parametrize(
    "path",
    [
        b".gitattributes", b"sub/.gitattributes", b".gitmodules", b".lfsconfig",
        b".github/workflows/x.yml", b".CODEX/config.toml",
        b"PLAN.md", b"AGENTS.md", b".husky/pre-commit", b".vscode/tasks.json", b".mcp.json",
    ],
)  # fmt: skip
async def test_guarded_paths_are_refused(desk: Desk, path: bytes) -> None:
    assert _rules(await desk.take({path: b"# x\n"})) == {"guarded"}


async def test_a_move_out_of_the_tasks_paths_shows_both_ends(desk: Desk) -> None:
    policy = replace(FREE, allowed=("folder/**",))
    intake = await desk.take({b"a.txt": None, b"folder/a.txt": b"one\ntwo\n"}, policy)
    assert isinstance(intake, IntakeRefused)
    assert [(violation.rule, violation.path) for violation in intake.violations] == [("scope", "a.txt")]


async def test_limits_of_size_and_number_hold(desk: Desk, untouched: Callable[[], None]) -> None:
    assert _rules(await desk.take({b"big": b"\0" * 6000}, replace(FREE, max_blob_bytes=5000))) == {"size"}
    many: dict[bytes, Edit] = {b"many/%04d" % n: b"x" for n in range(60)}
    assert _rules(await desk.take(many, replace(FREE, max_new_entries=50))) == {"size"}
    noise = b"".join(hashlib.sha256(b"%d" % n).digest() for n in range(1000))
    assert _rules(await desk.take({b"big": noise}, replace(FREE, max_pack_bytes=9000))) == {"pack"}
    untouched()


async def test_a_huge_blob_in_a_small_pack_is_refused_without_being_held(
    desk: Desk, untouched: Callable[[], None]
) -> None:
    assert _rules(await desk.take({b"zeros": b"\0" * (64 << 20)})) == {"size"}
    untouched()


async def test_a_pack_that_takes_too_long_is_refused(desk: Desk, untouched: Callable[[], None]) -> None:
    snapshot = desk.snapshot({b"zeros": b"\0" * (64 << 20)})
    began = worked_seconds()
    assert _rules(await desk.repo.intake(snapshot, replace(FREE, timeout_seconds=0.05))) == {"size"}
    assert worked_seconds() - began < 3
    untouched()


@pytest.mark.parametrize(
    "text", [b"sk-", b"aws key = ", b"sk-sk-sk-T3BlbkF", b"0", b"-----BEGIN A ", b"xoxb-1-", b"NPM_TOKEN"]
)
async def test_text_that_makes_patterns_slow_ends_at_the_deadline(desk: Desk, text: bytes) -> None:
    snapshot = desk.snapshot({b"one-line": text * ((12 << 20) // len(text))})
    began = worked_seconds()
    assert _rules(await desk.repo.intake(snapshot, replace(FREE, timeout_seconds=1.5))) == {"size"}
    assert worked_seconds() - began < 6


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "text", "trailing"])
async def test_a_broken_pack_is_refused(desk: Desk, damage: str, untouched: Callable[[], None]) -> None:
    snapshot = desk.snapshot({b"a.txt": b"x\n"})
    data = snapshot.pack.read_bytes()
    middle = len(data) // 2
    snapshot.pack.write_bytes(
        {
            "cut": data[:-30],
            "flipped": data[:middle] + bytes([data[middle] ^ 0xFF]) + data[middle + 1 :],
            "empty": b"",
            "text": b"# v2 git bundle\nhello\n",
            "trailing": data + b"PACK" * 10,
        }[damage]
    )
    assert _rules(await desk.repo.intake(snapshot, FREE)) == {"pack"}
    untouched()


async def test_a_link_or_fifo_for_a_pack_is_refused(desk: Desk, tmp_path: Path) -> None:
    import os

    snapshot = desk.snapshot({b"a.txt": b"x\n"})
    (tmp_path / "link").symlink_to(snapshot.pack)
    os.mkfifo(tmp_path / "fifo")
    for name in ("link", "fifo", "absent"):
        assert _rules(await desk.repo.intake(replace(snapshot, pack=tmp_path / name), FREE)) == {"pack"}


@pytest.mark.parametrize(
    "tip", ["", "HEAD", "--all", "-x", "0" * 40, "f" * 40, "z" * 40, "f" * 64, "a" * 39, "refs/heads/x"]
)
async def test_a_tip_that_is_no_commit_of_the_pack_is_refused(desk: Desk, tip: str) -> None:
    snapshot = desk.snapshot({b"a.txt": b"x\n"})
    assert _rules(await desk.repo.intake(replace(snapshot, tip=tip), FREE)) == {"pack"}


async def test_a_tip_of_another_kind_is_refused(desk: Desk) -> None:
    shop = _shop(desk)
    blob = shop.blob(b"x")
    tree = shop.tree([("100644", b"a", blob)])
    for tip in (blob, tree, shop.add("tag", f"object {tree}\ntype tree\ntag x\ntagger a <b> 1 +0000\n\nx\n".encode())):
        assert _rules(await desk.repo.intake(shop.pack(tip, desk.base), FREE)) == {"pack"}


async def test_a_tip_that_does_not_stand_on_the_base_is_refused(desk: Desk) -> None:
    shop = _shop(desk)
    tree = shop.tree([("100644", b"a", shop.blob(b"x"))])
    root = shop.commit(tree, [])
    assert _rules(await desk.repo.intake(shop.pack(root, desk.base), FREE)) == {"pack"}
    assert _rules(await desk.repo.intake(shop.pack(shop.commit(tree, [root]), desk.base), FREE)) == {"pack"}


async def test_a_series_of_commits_counts_by_its_last_tree(desk: Desk) -> None:
    shop = _shop(desk)
    secret = shop.edited(desk.hub, desk.base, {b"key": b"AKIA" + b"QYLPMN5HHHFPZAM2\n"})
    clean = shop.edited(desk.hub, desk.base, {b"other": b"fine\n"})
    tip = shop.commit(clean, [shop.commit(secret, [desk.base])])
    intake = await desk.repo.intake(shop.pack(tip, desk.base), FREE)
    assert isinstance(intake, Accepted)
    hidden = hashlib.sha1(b"blob 21\0AKIA" + b"QYLPMN5HHHFPZAM2\n", usedforsecurity=False).hexdigest()
    assert git(desk.hub, "--git-dir=.", "cat-file", "-t", tip, check=False) == b"", "an agent's commit is in the hub"
    assert git(desk.hub, "--git-dir=.", "cat-file", "-t", hidden, check=False) == b"", (
        "a secret of history is in the hub"
    )


async def test_too_many_commits_are_refused(desk: Desk) -> None:
    shop = _shop(desk)
    tree = shop.edited(desk.hub, desk.base, {b"x": b"x"})
    tip: str = desk.base
    for n in range(1002):
        tip = shop.add(
            "commit", f"tree {tree}\nparent {tip}\nauthor a <b> {n} +0000\ncommitter a <b> {n} +0000\n\nx\n".encode()
        )
    assert _rules(await desk.repo.intake(shop.pack(tip, desk.base), FREE)) == {"pack"}


async def test_missing_objects_are_refused(desk: Desk, untouched: Callable[[], None]) -> None:
    shop = _shop(desk)
    tree = shop.tree([("100644", b"a", "1" * 40)])
    assert _rules(await desk.repo.intake(shop.snapshot(tree, desk.base), FREE)) == {"pack"}
    missing = _shop(desk)
    tip = missing.commit("2" * 40, [desk.base])
    assert _rules(await desk.repo.intake(missing.pack(tip, desk.base), FREE)) == {"pack"}
    untouched()


async def test_trees_that_git_calls_broken_are_refused(desk: Desk) -> None:
    for entries in (
        [("100644", b"b", "x"), ("100644", b"a", "x")],
        [("100644", b"a", "x"), ("100644", b"a", "x")],
        [("100644", b"a/b", "x")],
        [("100644", b"", "x")],
        [("0100644", b"a", "x")],
    ):
        shop = _shop(desk)
        blob = shop.blob(b"x")
        tree = shop.tree([(mode, name, blob) for mode, name, _ in entries], in_order=False)
        assert _rules(await desk.repo.intake(shop.snapshot(tree, desk.base), FREE)) == {"pack"}


async def test_a_submodule_by_an_ext_url_is_refused(desk: Desk) -> None:
    shop = _shop(desk)
    modules = shop.blob(b'[submodule "x"]\n\tpath = x\n\turl = ext::sh -c "touch /tmp/pwned"\n')
    tree = shop.tree([("100644", b".gitmodules", modules), ("160000", b"x", desk.base)])
    assert _rules(await desk.repo.intake(shop.snapshot(tree, desk.base), FREE)) <= {"mode", "pack"}
    assert _rules(await desk.take({b".gitmodules": b'[submodule "x"]\n\turl = ext::sh\n'})) <= {"guarded", "pack"}


async def test_an_unnamed_submodule_is_refused_even_at_the_tasks_own_path(desk: Desk) -> None:
    shop = _shop(desk)
    policy = replace(FREE, allowed=("x", ".gitmodules", "**"), opened=(".gitmodules",))
    alone = shop.tree([("160000", b"x", desk.base)])
    refused = await desk.repo.intake(shop.snapshot(alone, desk.base), policy)
    assert isinstance(refused, IntakeRefused)
    assert "its files would be nowhere" in refused.violations[0].message
    modules = shop.blob(b'[submodule "x"]\n\tpath = x\n\turl = https://example.org/x.git\n')
    named = shop.tree([("100644", b".gitmodules", modules), ("160000", b"x", desk.base)])
    assert isinstance(await desk.repo.intake(shop.snapshot(named, desk.base), policy), Accepted)


async def test_credentials_are_refused_by_file_and_line_and_never_shown(desk: Desk) -> None:
    key = b"AKIA" + b"QYLPMN5HHHFPZAM2"
    intake = await desk.take({b"conf/settings.py": b"a = 1\nkey = '" + key + b"'\n"})
    assert isinstance(intake, IntakeRefused)
    assert [(v.rule, v.path, v.line) for v in intake.violations] == [("secret", "conf/settings.py", 2)]
    assert key.decode() not in str(intake)


async def test_a_credential_that_the_user_committed_is_the_users_business(desk: Desk) -> None:
    line = b"key = '" + b"AKIA" + b"QYLPMN5HHHFPZAM2'\n"
    (desk.root / "fixture.py").write_bytes(line)
    git(desk.root, "add", "-A")
    git(desk.root, "commit", "-qm", "with a test key")
    base = (await desk.repo.inspect()).head
    await desk.repo.fetch_base(type(desk.base)("second"), base)  # type: ignore[arg-type]  # any run id
    edits: dict[bytes, Edit] = {
        b"fixture.py": line + b"more = 1\n",
        b"moved.py": line,
    }
    assert isinstance(await desk.repo.intake(desk.snapshot(edits, base), FREE), Accepted)
    edits = {b"new.py": b"x = 1; " + line, b"fixture.py": b"TIMEOUT = 2; " + line}
    assert isinstance(await desk.repo.intake(desk.snapshot(edits, base), FREE), Accepted), "the value itself is not new"
    other = line.replace(b"QYLPMN5HHHFPZAM2", b"ZZZPMN5HHHFPZAM7")
    both = await desk.repo.intake(desk.snapshot({b"fixture.py": line[:-1] + b"; " + other}, base), FREE)
    assert _rules(both) == {"secret"}, "beside an old one on its line a new one is new"


def _key(seed: int) -> bytes:
    body = base64.encodebytes(random.Random(seed).randbytes(300)).decode()
    return ("-----BEGIN RSA " + "PRIVATE KEY-----\n" + body + "-----END RSA " + "PRIVATE KEY-----\n").encode()


async def test_a_key_of_many_lines_is_known_by_its_body(desk: Desk) -> None:
    (desk.root / "test.pem").write_bytes(_key(1))
    git(desk.root, "add", "-A")
    git(desk.root, "commit", "-qm", "with a test key")
    base = (await desk.repo.inspect()).head
    await desk.repo.fetch_base(type(desk.base)("second"), base)  # type: ignore[arg-type]  # any run id
    moved: dict[bytes, Edit] = {b"test.pem": None, b"keys/test.pem": b"# a comment\n" + _key(1)}
    assert isinstance(await desk.repo.intake(desk.snapshot(moved, base), FREE), Accepted)
    assert _rules(await desk.repo.intake(desk.snapshot({b"new.pem": _key(2)}, base), FREE)) == {"secret"}
    assert _rules(await desk.repo.intake(desk.snapshot({b"test.pem": _key(1) + _key(2)}, base), FREE)) == {"secret"}


async def test_what_only_looks_like_a_credential_is_allowed_by_its_fingerprint(desk: Desk) -> None:
    key = b"AKIA" + b"QYLPMN5HHHFPZAM2"
    edits: dict[bytes, Edit] = {b"conf.py": b"key = '" + key + b"'\n"}
    refused = await desk.take(edits)
    assert isinstance(refused, IntakeRefused)
    (mark,) = {violation.fingerprint for violation in refused.violations}
    assert mark
    assert mark in refused.violations[0].message
    allowed = replace(FREE, allowed_credentials=(mark,))
    assert isinstance(await desk.take(edits, allowed), Accepted)
    assert isinstance(await desk.take({b"else/where.py": b"x; " + key}, allowed), Accepted)
    assert _rules(await desk.take({b"conf.py": b"key = '" + key[:-1] + b"7'\n"}, allowed)) == {"secret"}


async def test_a_secret_of_the_run_has_no_fingerprint_to_allow_it_by(desk: Desk) -> None:
    policy = replace(FREE, secret_values=("canary-value-1",))
    refused = await desk.take({b"a.txt": b"canary-value-1\n"}, policy)
    assert isinstance(refused, IntakeRefused)
    assert {violation.fingerprint for violation in refused.violations} == {""}


@pytest.mark.parametrize(
    "text", ["if a\u202e:\n", "\u2066x\n", "a\u200bb\n", "tag\U000e0041\n", "\x1b[31mred\n", "mid\ufeffdle\n"]
)
async def test_characters_that_hide_code_are_refused(desk: Desk, text: str) -> None:
    intake = await desk.take({b"x.py": b"fine\n" + text.encode()})
    assert isinstance(intake, IntakeRefused)
    assert [(v.rule, v.line) for v in intake.violations] == [("invisible", 2)]


async def test_ordinary_unicode_is_taken(desk: Desk) -> None:
    text = "\ufeffünï 文 עברית\u200f عربي \u200d👩\u200d💻\n"
    assert isinstance(await desk.take({b"x.txt": text.encode(), b"bin": b"\0\x1b\xff" * 100}), Accepted)


async def test_what_the_base_has_already_is_not_judged(tmp_path: Path) -> None:
    root = tmp_path / "user"
    base = make_user(
        root,
        {"README": b"1", "readme": b"2", ".github/workflows/ci.yml": b"x", "a\nb": b"3", "src/Aux": b"4", "nul": b"n"},
    )
    desk = await open_desk(root, tmp_path)
    new = await desk.taken({b"README": b"changed", b"a\nb": b"changed", b"src/Aux": None, b"src/other": b"x"})
    assert len(await desk.repo.changes(CommitId(base), new)) == 4
    assert _rules(await desk.take({b"ReadMe": b"a third"})) == {"name"}
    await desk.repo.close()


async def test_a_pack_may_hold_more_than_the_tip_needs_and_only_that_is_taken(desk: Desk) -> None:
    shop = _shop(desk)
    stray = shop.blob(b"never mentioned\n")
    tree = shop.edited(desk.hub, desk.base, {b"x": b"x\n"})
    assert isinstance(await desk.repo.intake(shop.snapshot(tree, desk.base), FREE), Accepted)
    assert git(desk.hub, "--git-dir=.", "cat-file", "-t", stray, check=False) == b""


def test_the_pack_writer_writes_what_git_reads(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "--bare")
    git(tmp_path, "index-pack", "--stdin", "--strict", data=write_pack([("blob", b"x" * n) for n in (0, 15, 16, 5000)]))


async def test_a_snapshot_names_a_base_the_hub_must_have(desk: Desk) -> None:
    from codexteam.errors import RepoError

    snapshot = desk.snapshot({b"a.txt": b"x\n"})
    with pytest.raises(RepoError, match="no such commit"):
        await desk.repo.intake(Snapshot(snapshot.tip, CommitId("9" * 40), snapshot.pack, 1), FREE)
