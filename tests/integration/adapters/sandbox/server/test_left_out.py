"""What a snapshot has of a workspace, what it has not, and that it says so."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from codexteam.adapters.sandbox.channel import Channel
from codexteam.core.ids import CommitId
from tests.integration.adapters.sandbox.server.test_server import ENV, Start, sh, start  # noqa: F401 - a fixture
from tests.support_base_source import base_source, make_repository, unpack_snapshot

pytestmark = pytest.mark.slow

BASE: Mapping[str | bytes, bytes | str] = {
    "a.txt": b"1\n",
    "lib/tracked.py": b"t\n",
    ".gitignore": b"lib/new/\n*.log\ndist/\n!keep.log\n",
}
#: The files taken by path, and the remarks by path.
Took = tuple[dict[str, bytes], dict[str, str]]


@dataclass
class Place:
    channel: Channel
    repository: Path
    base: CommitId
    folder: Path
    packs: int = 0

    async def take(self, line: str, paths: Sequence[str] = ()) -> Took:
        done = await self.channel.run(sh(line, self.folder), ENV)
        assert done.ok, done.output
        self.packs += 1
        pack = self.folder / f"{self.packs}.pack"
        shot = await self.channel.snapshot(self.base, pack, max_bytes=1 << 24, paths=paths)
        found = unpack_snapshot(self.repository, shot.pack, shot.tip) if shot else {}
        files = {name.decode(): data for name, (_, data) in found.items()}
        return files, {remark.path: remark.why for remark in self.channel.remarks}


@pytest.fixture
def place(start: Start, tmp_path: Path) -> Callable[..., Awaitable[Place]]:  # noqa: F811
    async def make(files: Mapping[str | bytes, bytes | str] = BASE, extra: Mapping[str, bytes] | None = None) -> Place:
        repository = tmp_path / "repository"
        base = make_repository(repository, files)
        source = (
            base_source(repository, tmp_path / "state", extra=extra)
            if extra
            else base_source(repository, tmp_path / "state")
        )
        channel = await start()
        await channel.populate(source, root=True)
        return Place(channel, repository, CommitId(base), tmp_path)

    return make


Make = Callable[..., Awaitable[Place]]


@pytest.mark.parametrize(
    "paths",
    [["dist/out.js"], ["dist"], ["dist/"], ["dist/**"], ["dist/*.js"], ["dist/**/*.js"], ["{dist,other}/out.js"]],
)
async def test_what_a_tasks_paths_name_is_taken_though_git_ignores_it(place: Make, paths: list[str]) -> None:
    found = await place()
    files, remarks = await found.take("mkdir dist; echo x >dist/out.js", paths)
    assert files["dist/out.js"] == b"x\n"
    assert remarks == {}


@pytest.mark.parametrize("paths", [[], ["**"], ["**/*.js"], ["a.txt"], ["lib"]])
async def test_what_no_path_names_is_left_out_and_named_with_its_rule(place: Make, paths: list[str]) -> None:
    found = await place()
    files, remarks = await found.take("mkdir -p dist lib/new; echo x >dist/out.js; echo >lib/new/f; echo >x.log", paths)
    assert files == {}, "nothing else was changed"
    assert remarks == {
        "dist/": "ignored: `dist/` in .gitignore:3",
        "lib/new/": "ignored: `lib/new/` in .gitignore:1",
        "x.log": "ignored: `*.log` in .gitignore:2",
    }


async def test_logs_of_a_named_folder_are_taken_and_no_others(place: Make) -> None:
    found = await place()
    files, remarks = await found.take("mkdir logs; echo 1 >logs/a.log; echo 2 >other.log", ["logs/*.log"])
    assert files["logs/a.log"] == b"1\n"
    assert list(remarks) == ["other.log"]


async def test_build_products_are_left_out_of_a_folder_that_is_named(place: Make) -> None:
    found = await place()
    line = (
        "mkdir -p dist/__pycache__ dist/node_modules/x; echo >dist/a.js; echo >dist/__pycache__/a.pyc; "
        "echo >dist/node_modules/x/y"
    )
    files, _ = await found.take(line, ["dist/**"])
    assert {name for name in files if name.startswith("dist/")} == {"dist/a.js"}


async def test_a_build_product_that_is_named_itself_is_taken(place: Make) -> None:
    found = await place()
    files, remarks = await found.take("mkdir -p node_modules/x; echo 1 >node_modules/x/y.js", ["node_modules/x/y.js"])
    assert files["node_modules/x/y.js"] == b"1\n"
    assert remarks == {}


async def test_codexteams_own_list_is_named_as_such_and_caches_are_passed_over(place: Make) -> None:
    found = await place()
    line = (
        "mkdir -p node_modules/x __pycache__ sub/__pycache__ .pytest_cache; echo >node_modules/x/y; echo >sub/x.pyc; "
        "echo >__pycache__/a.pyc; echo >sub/__pycache__/notes.md; echo >.pytest_cache/v"
    )
    _, remarks = await found.take(line)
    assert set(remarks) == {"node_modules/", "sub/__pycache__/"}
    assert "codexteam's list of build products" in remarks["node_modules/"]


async def test_what_an_agent_adds_by_force_is_taken(place: Make) -> None:
    found = await place()
    files, remarks = await found.take("mkdir dist; echo x >dist/out.js; echo y >dist/not.js; git add -f dist/out.js")
    assert files["dist/out.js"] == b"x\n"
    assert "dist/not.js" not in files
    assert list(remarks) == ["dist/not.js"]


async def test_the_users_ignored_files_are_never_taken_and_named_once_changed(place: Make) -> None:
    found = await place({**BASE, ".gitignore": b"*.env\nkeys/\n"}, {"x.env": b"secret", "keys/k": b"secret"})
    files, remarks = await found.take("echo 2 >a.txt", ["x.env", "keys/**", "*.env"])
    assert set(files) == {"a.txt", "lib/tracked.py", ".gitignore"}
    assert remarks == {}
    files, remarks = await found.take("echo more >>x.env; git add -f x.env", ["x.env"])
    assert "x.env" not in files
    assert remarks == {"x.env": "it was copied in for you; changes to it stay here"}


@pytest.mark.parametrize("commit", ["", "; git -c user.name=a -c user.email=a@b commit -qm inner"])
async def test_a_repository_inside_the_workspace_is_taken_as_files(place: Make, commit: str) -> None:
    found = await place()
    line = (
        f"mkdir web && cd web && git init -q . && mkdir sub && echo 1 >sub/i.js && echo z >z.log && git add -A{commit}; "
        "git init -q deep && echo 2 >deep/k"
    )
    files, remarks = await found.take(line)
    assert {name: data for name, data in files.items() if name.startswith("web/")} == {
        "web/sub/i.js": b"1\n",
        "web/deep/k": b"2\n",
    }
    assert set(remarks) == {"web/.git", "web/deep/.git", "web/z.log"}
    files, remarks = await found.take("echo 3 >web/later; rm web/sub/i.js")
    assert files["web/later"] == b"3\n"
    assert "web/sub/i.js" not in files
    assert "web/.git" in remarks


async def test_a_repository_in_place_of_a_tracked_path_is_taken_as_files(place: Make) -> None:
    found = await place()
    line = (
        "git init -q lib; rm a.txt; git init -q a.txt; cd a.txt; echo 1 >f; git add f; "
        "git -c user.name=a -c user.email=a@b commit -qm x"
    )
    files, _ = await found.take(line)
    assert files["a.txt/f"] == b"1\n"
    assert files["lib/tracked.py"] == b"t\n"
    assert "a.txt" not in files


ENCODINGS = b"*.u16 text working-tree-encoding=UTF-16\n*.bad working-tree-encoding=no-such\n"


async def test_files_that_git_cannot_store_cost_nothing_but_themselves(place: Make) -> None:
    found = await place({**BASE, ".gitattributes": ENCODINGS, "t.u16": b"\xff\xfeo\x00\n\x00"})
    line = (
        "printf 'ab\\377' >x.u16; printf 'ab\\377' >t.u16; echo 1 >new; echo 2 >a.txt; rm lib/tracked.py; echo >closed; "
        "chmod 0 closed; mkdir dark; echo >dark/f; for n in $(seq 300); do echo $n >many$n; done"
    )
    files, remarks = await found.take(line + "; id -u")
    assert files["new"] == b"1\n"
    assert files["a.txt"] == b"2\n"
    assert files["many300"] == b"300\n"
    assert "lib/tracked.py" not in files
    assert "x.u16" not in files
    assert files["t.u16"] == b"o\n", "the version of the base stays"
    assert set(remarks) - {"closed"} == {"x.u16", "t.u16"}
    assert "git cannot store it: BOM is required" in remarks["x.u16"]
    again, _ = await found.take("printf '\\377\\376a\\000\\n\\000' >x.u16; rm t.u16")
    assert again["x.u16"] == b"a\n"
    assert "t.u16" not in again


async def test_work_on_another_branch_is_named_with_the_branch(place: Make) -> None:
    found = await place()
    line = "git checkout -qb feature; echo f >f.txt; git add f.txt; git commit -qm f; git checkout -q work"
    files, remarks = await found.take(line)
    assert files == {}
    assert remarks == {"f.txt": "what the branch feature has of it is not in your files, which alone are taken"}
    files, remarks = await found.take("git merge -q feature")
    assert files["f.txt"] == b"f\n"
    assert remarks == {}
    _, remarks = await found.take("echo more >>f.txt; git commit -qam more; git pack-refs --all")
    assert remarks == {}


async def test_work_in_a_stash_is_named_tracked_or_not(place: Make) -> None:
    found = await place()
    _, remarks = await found.take("echo 2 >a.txt; git stash -q; echo n >n.txt; git stash -qu")
    assert set(remarks) == {"a.txt", "n.txt"}
    assert "the stash (stash@{1})" in remarks["a.txt"]
    assert "the stash (stash@{0})" in remarks["n.txt"]
    files, remarks = await found.take("git stash pop -q; git stash pop -q")
    assert (files["a.txt"], files["n.txt"]) == (b"2\n", b"n\n")
    assert remarks == {}


async def test_a_new_file_that_git_lfs_should_store_is_named(place: Make) -> None:
    found = await place({**BASE, ".gitattributes": b"*.bin filter=lfs diff=lfs merge=lfs -text\n"})
    pointer = "version https://git-lfs.github.com/spec/v1\\noid sha256:0\\nsize 1\\n"
    line = f"echo x >new.bin; printf '{pointer}' >pointer.bin; echo >b.txt"
    files, remarks = await found.take(line)
    assert files["new.bin"] == b"x\n"
    assert list(remarks) == ["new.bin"]
    assert "Git LFS" in remarks["new.bin"]
