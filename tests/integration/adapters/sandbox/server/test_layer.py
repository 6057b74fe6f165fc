"""What a set-up leaves in its checkout: taken out of it, laid into other checkouts, and in nobody's work."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from codexteam.adapters.sandbox.channel import Channel
from codexteam.adapters.sandbox.program import server_program, server_settings, start_command
from codexteam.core.ids import CommitId
from codexteam.ports.sandbox import BaseSource, Command
from tests.support_base_source import base_source, commit_all, make_repository, unpack_snapshot

ENV = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}
FILES: dict[str | bytes, bytes | str] = {
    "a.txt": b"1\n",
    "lib/code.py": b"x = 1\n",
    ".gitignore": b"node_modules/\ndist/\n*.log\n",
}
SET_UP = (
    "mkdir -p node_modules/m dist lib/made; echo m >node_modules/m/index.js; ln node_modules/m/index.js node_modules/same; "
    "ln -s m node_modules/link; echo built >dist/out.js; echo g >lib/made/generated.py; echo v >version.py; mkdir empty"
)


@dataclass
class Place:
    """A server over a folder of its own."""

    channel: Channel
    folder: Path

    async def sh(self, line: str) -> bytes:
        done = await self.channel.run(Command(("bash", "-c", line), cwd=str(self.folder)), ENV)
        assert done.ok, done.output
        return done.output


@dataclass
class Rig:
    """A repository, and servers for set-ups and workspaces."""

    root: Path
    open: Callable[[str], Awaitable[Place]]
    shots: int = 0

    def __post_init__(self) -> None:
        self.repository = self.root / "repository"
        make_repository(self.repository, FILES)

    def source(self, **more: object) -> BaseSource:
        self.shots += 1
        return base_source(self.repository, self.root / f"base-{self.shots}", **more)  # type: ignore[arg-type]

    async def layer(self, line: str = SET_UP, source: BaseSource | None = None) -> Path:
        """Set up, and take the layer."""
        place = await self.open("set-up")
        await place.channel.populate(source or self.source(), root=True)
        await place.sh(line)
        await place.channel.job("take_layer", {"target": str(self.root / "layer")})
        return self.root / "layer"

    async def workspace(self, layer: Path, source: BaseSource | None = None) -> Place:
        """Make a checkout with a layer, as it is before an agent's first command."""
        place = await self.open("work")
        chosen = source or self.source()
        await place.channel.populate_root(chosen)
        await place.channel.job("lay_layer", {"source": str(layer)})
        await place.channel.job("seal", {"mtime_seconds": 1_000_000_000})
        await place.channel.populate(chosen, root=False)
        return place

    async def work(self, place: Place, paths: Sequence[str] = ()) -> tuple[dict[str, bytes], dict[str, str]]:
        """What a snapshot has, and its remarks."""
        self.shots += 1
        pack = self.root / f"{self.shots}.pack"
        base = CommitId((await place.sh("git rev-parse HEAD")).decode().strip())
        shot = await place.channel.snapshot(base, pack, max_bytes=1 << 24, paths=paths)
        found = unpack_snapshot(self.repository, shot.pack, shot.tip) if shot else {}
        remarks = {remark.path: remark.why for remark in place.channel.remarks}
        return {name.decode(): data for name, (_, data) in found.items()}, remarks


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    started: list[tuple[Channel, asyncio.subprocess.Process]] = []
    (tmp_path / "server.pyz").write_bytes(server_program())

    async def open_place(name: str) -> Place:
        folder = tmp_path / name / "work"
        folder.mkdir(parents=True)
        private = str(tmp_path / name / "private")
        settings = server_settings(workspace=str(folder), private=private, alone=False, output_cap_bytes=1 << 20)
        process = await asyncio.create_subprocess_exec(
            *start_command(sys.executable, str(tmp_path / "server.pyz"), settings),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=ENV,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        channel = Channel(process.stdout, process.stdin)
        started.append((channel, process))
        await channel.ready()
        return Place(channel, folder)

    yield Rig(tmp_path, open_place)
    for channel, process in started:
        await channel.close()
        await process.wait()


async def test_what_git_does_not_track_is_in_later_checkouts_and_git_is_silent(rig: Rig) -> None:
    place = await rig.workspace(await rig.layer())
    assert await place.sh(
        "cat node_modules/link/index.js dist/out.js lib/made/generated.py version.py; ls -d empty"
    ) == (b"m\nbuilt\ng\nv\nempty\n")
    assert await place.sh("stat -c %h node_modules/same; git status --porcelain") == b"2\n"
    assert await rig.work(place) == ({}, {})


async def test_tracked_files_are_those_of_the_commit_whatever_the_set_up_did(rig: Rig) -> None:
    layer = await rig.layer(f"{SET_UP}; echo changed >a.txt; rm lib/code.py")
    place = await rig.workspace(layer)
    assert await place.sh("cat a.txt lib/code.py") == b"1\nx = 1\n"


async def test_a_commit_that_tracks_what_a_set_up_made_has_its_own(rig: Rig) -> None:
    layer = await rig.layer()
    (rig.repository / "version.py").write_text("tracked\n")
    (rig.repository / "lib/made").mkdir()
    (rig.repository / "lib/made/other.py").write_text("o\n")
    (rig.repository / "dist").write_text("a file now\n")
    (rig.repository / ".gitignore").write_text("node_modules/\n")
    commit_all(rig.repository, "second")
    place = await rig.workspace(layer)
    shown = await place.sh("cat version.py dist lib/made/other.py lib/made/generated.py; git status --porcelain")
    assert shown == b"tracked\na file now\no\ng\n"


async def test_new_files_beside_a_set_ups_are_work_and_the_set_ups_are_not(rig: Rig) -> None:
    place = await rig.workspace(await rig.layer())
    await place.sh("echo mine >lib/made/mine.py; echo x >new.txt")
    files, remarks = await rig.work(place, ["lib/**"])
    assert set(files) - set(FILES) == {"lib/made/mine.py", "new.txt"}
    assert remarks == {}


@pytest.mark.parametrize("paths", [["dist/**"], ["dist/out.js"], ["dist"], ["version.py"], ["**"]])
async def test_paths_that_name_what_a_set_up_made_take_nothing_of_it(rig: Rig, paths: list[str]) -> None:
    place = await rig.workspace(await rig.layer())
    assert await rig.work(place, paths) == ({}, {})


async def test_what_an_agent_rewrote_of_a_layer_is_taken_if_named_else_said(rig: Rig) -> None:
    place = await rig.workspace(await rig.layer())
    await place.sh("echo more >>dist/out.js; touch -d 2001-01-01 dist/out.js; echo x >dist/__pycache__")
    files, remarks = await rig.work(place)
    assert files == {}
    assert list(remarks) == ["dist/"]
    files, _ = await rig.work(place, ["dist/**"])
    assert {name for name in files if name.startswith("dist")} == {"dist/out.js"}
    await place.sh("git add -f node_modules/m/index.js dist/out.js")
    files, _ = await rig.work(place)
    assert "node_modules/m/index.js" not in files


async def test_of_a_folder_full_of_new_files_the_folder_is_excluded(rig: Rig) -> None:
    layer = await rig.layer("mkdir -p vendor/x && cd vendor/x && touch $(seq 1000)")
    assert json.loads((layer / "about.json").read_text())["excluded"] == ["vendor/"]
    assert await rig.work(await rig.workspace(layer)) == ({}, {})


async def test_files_copied_in_for_the_user_are_in_no_layer(rig: Rig) -> None:
    source = rig.source(extra={"secret.log": b"canary", "dist/own.env": b"canary"})
    layer = await rig.layer(source=source)
    assert not (layer / "files" / "secret.log").exists()
    assert sorted(path.name for path in (layer / "files/dist").iterdir()) == ["out.js"]
    place = await rig.workspace(layer, source)
    assert await place.sh("cat secret.log dist/own.env dist/out.js") == b"canarycanarybuilt\n"
    assert await rig.work(place) == ({}, {})


async def test_what_was_built_is_newer_than_the_files_it_was_built_of_alone(rig: Rig) -> None:
    layer = await rig.layer("sleep 1.1; mkdir dist; echo built >dist/out.js")
    (rig.repository / "lib/code.py").write_text("x = 2\n")
    commit_all(rig.repository, "second")
    place = await rig.workspace(layer)
    assert await place.sh("test dist/out.js -nt a.txt && ! test dist/out.js -nt lib/code.py; git status --short") == b""
