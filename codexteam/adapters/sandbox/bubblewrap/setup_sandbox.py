"""The sandbox of a set-up: its checkout, `HOME` and /tmp are folders on the disk, watched, and kept at the end."""

import asyncio
import json
import logging
import os
import stat
import subprocess
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path

from codexteam.adapters.sandbox.bubblewrap.environments import ABOUT, SetupPlace
from codexteam.adapters.sandbox.bubblewrap.kept_folders import remove_tree
from codexteam.adapters.sandbox.bubblewrap.sandbox_start import SandboxStart
from codexteam.adapters.sandbox.channel import Channel
from codexteam.adapters.sandbox.channel_sandbox import ChannelSandbox
from codexteam.adapters.sandbox.protocol import ChannelClosedError, GitInSandboxError
from codexteam.config.settings import SandboxLimits
from codexteam.core.codec import encode
from codexteam.core.text import clean
from codexteam.errors import SandboxLost, SandboxUnavailable
from codexteam.ports.environments import Environment
from codexteam.ports.sandbox import WORKSPACE, SandboxFacts, SandboxSpec
from codexteam.system.cancellation import stopped, to_its_end

_LOG = logging.getLogger(__name__)
#: Of the disk that environments are on, what a set-up must leave free.
_RESERVE_BYTES = 256 << 20
_LOOK_SECONDS = 0.5
#: Package caches that are larger are started anew.
_MOST_CACHE_BYTES = 20 << 30
_TAKE_SECONDS = 1800.0
#: Where the server's job puts the layer: in the one folder of the checkout that is none of the repository's.
_TAKEN = Path(".git", "codexteam-layer")
_MOST_ABOUT_BYTES = 256 << 20
_SPECIAL_RIGHTS = stat.S_ISUID | stat.S_ISGID


class DiskWatch:
    """Ends a set-up that writes more than it may: nothing else limits folders on a disk."""

    def __init__(self, folder: Path, limits: SandboxLimits, end: Callable[[], Awaitable[None]]) -> None:
        self._folder = folder
        self._limit = limits.workspace_bytes
        self._files = limits.workspace_files
        self._end = end
        self.problem = ""
        """Why the set-up was ended; empty while it was not."""
        self._task = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        free, files = _free(self._folder)
        look_at, last_file = free - self._limit, files - self._files
        while not self.problem:
            await asyncio.sleep(_LOOK_SECONDS)
            free, files = _free(self._folder)
            if 0 < files < last_file:  # file systems that know no such number say 0
                self.problem = f"it wrote more than the {self._files} files allowed"
            elif free < _RESERVE_BYTES:
                self.problem = f"the disk of {self._folder.parent} is full: {free >> 20} MB are left"
            elif free < look_at:
                size = await asyncio.to_thread(size_of, self._folder)
                look_at = free - max(self._limit - size, 1 << 20)  # others write to the same disk
                if size > self._limit:
                    self.problem = f"it wrote more than the {self._limit >> 20} MB allowed"
        await self._end()

    async def stop(self) -> None:
        """End it. May be repeated."""
        await stopped(self._task)


class BubblewrapSetupSandbox(ChannelSandbox):
    """The port `SetupSandbox`."""

    has_root = False

    def __init__(
        self,
        *,
        place: SetupPlace,
        start: SandboxStart,
        facts: SandboxFacts,
        spec: SandboxSpec,
        environment: Mapping[str, str],
        channel: Channel,
    ) -> None:
        self._place = place
        self._start = start
        self._kept = False
        self._watch = DiskWatch(place.folder, spec.limits, start.stop)
        super().__init__(
            facts=facts,
            spec=spec,
            environment=environment,
            channel=channel,
            respawn=self._start_again,
            shut=self._put_away,
        )

    async def _start_again(self) -> Channel:
        if self._kept:
            raise SandboxLost("what it made is kept, nothing runs in it any more")
        if self._watch.problem:
            raise SandboxLost(self._watch.problem)
        return await self._start.again()

    async def _put_away(self) -> None:
        await self._watch.stop()
        await self._start.put_away()
        await to_its_end(asyncio.to_thread(self._clear_up))

    def _clear_up(self) -> None:
        if not self._kept:
            self._place.remove()
        if size_of(self._place.caches) > _MOST_CACHE_BYTES:
            self._place.remove_caches()

    async def keep(self, made: Environment) -> Environment:
        """Keep what the steps left, under the order's key, and return it with its size; nothing runs afterwards."""
        channel = await self._live()
        try:
            target = f"{WORKSPACE}/{_TAKEN}"
            await channel.job("take_layer", {"target": target}, timeout_seconds=_TAKE_SECONDS)
        except ChannelClosedError as error:
            await self._live()
            raise SandboxLost(
                f"the sandbox {self.facts.name} ended while its work was taken: {clean(str(error))}"
            ) from error
        except (GitInSandboxError, ValueError, OSError) as error:
            raise self._not_kept(clean(str(error))) from error
        await self._watch.stop()
        await self._start.stop()  # from here on nobody else writes to these folders
        if self._watch.problem:
            raise self._not_kept(self._watch.problem)
        try:
            kept = await to_its_end(asyncio.to_thread(self._finish, made))
        except (OSError, ValueError) as error:
            raise self._not_kept(clean(str(error))) from error
        self._kept = True
        return kept

    def _not_kept(self, why: str) -> SandboxUnavailable:
        return SandboxUnavailable(
            f"what the set-up left cannot be kept: {why}", hint=f"is there room in {self._place.folder.parent}?"
        )

    def _finish(self, made: Environment) -> Environment:
        place = self._place
        taken = place.work / _TAKEN
        for path in (taken.parent, taken, taken / "files"):
            if not stat.S_ISDIR(path.lstat().st_mode):
                raise ValueError(f"{path.relative_to(place.work)} is not the folder that was made there")
        _check_about(taken / "about.json")
        layer = place.folder / "layer"
        taken.rename(layer)
        remove_tree(place.work)
        remove_tree(place.tmp)
        disarm(layer / "files")
        disarm(place.home)
        kept = replace(made, key=place.key, size_bytes=size_of(place.folder))
        (place.folder / ABOUT).write_text(json.dumps(encode(kept)), encoding="utf-8")
        _write_out(place.folder)
        place.put()
        return kept


def _write_out(folder: Path) -> None:
    """Let the disk have all of it before it gets its name: a power cut leaves a whole one or none."""
    argv = ("sync", "-f", str(folder))
    if subprocess.run(argv, check=False, stdin=subprocess.DEVNULL, capture_output=True).returncode != 0:
        os.sync()  # not every `sync` knows of single file systems


def _check_about(path: Path) -> None:
    """The set-up's own processes may have written there before they ended."""
    state = path.lstat()
    if not stat.S_ISREG(state.st_mode) or state.st_size > _MOST_ABOUT_BYTES:
        raise ValueError("the list of what the set-up left is not a regular file of a plausible size")
    known = json.loads(path.read_text(encoding="utf-8", errors="surrogateescape"))
    if not isinstance(known, dict) or not isinstance(known.get("names"), list):
        raise ValueError("the list of what the set-up left cannot be read")  # noqa: TRY004 - of a file, not of a value


def disarm(folder: Path) -> None:
    """Take out of a tree what no build needs and what may do harm: pipes, sockets, devices, rights of the owner.

    A `.git` that is a file names a folder of the checkout's own `.git`, which is not kept.
    """
    waiting = [str(folder)]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                mode = entry.stat(follow_symlinks=False).st_mode
                linked_git = entry.name == ".git" and stat.S_ISREG(mode)
                if linked_git or not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode)):
                    os.unlink(entry.path)  # noqa: PTH108 - many
                    continue
                wanted = mode & ~_SPECIAL_RIGHTS
                if stat.S_ISDIR(mode):
                    wanted |= stat.S_IRUSR | stat.S_IXUSR
                    waiting.append(entry.path)
                if wanted != mode and not stat.S_ISLNK(mode):
                    os.chmod(entry.path, stat.S_IMODE(wanted))  # noqa: PTH101 - many


def size_of(folder: Path) -> int:
    """Return what a tree takes on the disk, a file of several names once; what vanishes meanwhile does not count."""
    size = 0
    known: set[int] = set()
    waiting = [str(folder)]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    state = entry.stat(follow_symlinks=False)
                    if stat.S_ISDIR(state.st_mode):
                        waiting.append(entry.path)
                    elif state.st_nlink > 1:
                        if state.st_ino in known:
                            continue
                        known.add(state.st_ino)
                    size += state.st_blocks * 512
        except OSError as error:
            _LOG.debug("%s", error)
    return size


def _free(folder: Path) -> tuple[int, int]:
    """Return how many bytes and files a disk still takes."""
    state = os.statvfs(folder)
    return state.f_bavail * state.f_frsize, state.f_favail
