"""The environments of one repository: a folder for each key, below the user's cache folder, shared by all its runs.

    KEY/environment.json   what is known of it
    KEY/lock               locked by whoever uses it; its time is that of the last use
    KEY/home               `HOME` of every sandbox in it
    KEY/layer              what the set-up wrote in its checkout, as the server's job `take_layer` left it
    .new-KEY               a set-up at work, or one that was killed
    .claims/KEY.lock       locked by whoever builds it
    .caches                the package caches of all set-ups

The kernel lets go of a lock with the last process that holds it, so nothing here has to be repaired after a kill.
"""

import asyncio
import contextlib
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from codexteam.adapters.sandbox.bubblewrap.kept_folders import GONE, KeptFolders, remove_tree
from codexteam.adapters.sandbox.bubblewrap.launch_plan import PATH, SANDBOX_UID
from codexteam.adapters.sandbox.claims import Claims
from codexteam.core.codec import decode
from codexteam.core.text import clean_line
from codexteam.environment.plan import SETUP_USER_HOME
from codexteam.environment.pruning import UNUSED_SECONDS
from codexteam.errors import SandboxUnavailable, StoreError
from codexteam.ports.environments import Environment, SetupOrder, SetupSandbox
from codexteam.ports.sandbox import BaseSource

ABOUT = "environment.json"
_NEW = ".new-"
#: As `owner_of` gives it.
_OWNER = re.compile(r"[0-9a-f]{8}\Z")
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,79}\Z")


@dataclass(frozen=True, slots=True)
class HeldEnvironment:
    """An environment that is in use, until its descriptor is closed."""

    environment: Environment
    folder: Path
    descriptor: int

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def layer(self) -> Path:
        """The folder of the layer's files and of what is known of them."""
        return self.folder / "layer"

    @property
    def layer_files(self) -> Path:
        return self.layer / "files"

    @property
    def mark(self) -> str:
        """Distinguishes what was made for it from what was made for one that had the same key before."""
        return f"{self.environment.key}-{(self.folder / ABOUT).stat().st_mtime_ns:x}"

    def release(self) -> None:
        """Let it be removed."""
        os.close(self.descriptor)


class BubblewrapEnvironments:
    """What is kept below one folder. `start_setup` starts a set-up's sandbox in a new folder of it."""

    starts_services = False
    uses_images = False

    def __init__(
        self, folder: Path, start_setup: Callable[[SetupOrder, "SetupPlace"], Awaitable[SetupSandbox]]
    ) -> None:
        self._folder = folder
        self._kept = KeptFolders(folder)
        self._claims = Claims(folder / ".claims")
        self._start_setup = start_setup

    async def identity(self, base: BaseSource) -> str:  # noqa: ARG002 - of every base the same
        """Return what tells this host from another."""
        return await asyncio.to_thread(host_identity)

    async def find(self, key: str) -> Environment | None:
        """Return the environment of that key and mark it as used; None when there is none that is whole."""
        held = await asyncio.to_thread(self.hold, key)
        if held is None:
            return None
        held.release()
        return held.environment

    def hold(self, key: str) -> HeldEnvironment | None:
        """Return an environment that stays until it is released; None when there is none that is whole."""
        if _KEY.match(key) is None:
            return None
        descriptor = self._kept.hold(key)
        if descriptor is None:
            return None
        environment = self._read(key)
        if environment is None:
            os.close(descriptor)
            return None
        return HeldEnvironment(environment, self._folder / key, descriptor)

    def _read(self, key: str) -> Environment | None:
        """Return what is known of one; None where a newer version wrote it, or something else."""
        try:
            text = (self._folder / key / ABOUT).read_text(encoding="utf-8")
            found = decode(Environment, json.loads(text), f"{self._folder / key / ABOUT}")
        except (OSError, ValueError, StoreError):
            return None
        return found if found.key == key else None

    @asynccontextmanager
    async def claim(self, key: str) -> AsyncIterator[None]:
        """Wait until nobody else builds that key, here or in another process."""
        async with self._claims.claim(key):
            yield

    async def set_up(self, order: SetupOrder) -> SetupSandbox:
        """Start the sandbox of a set-up, under a claim of its key."""
        if _KEY.match(order.key) is None:
            raise ValueError(f"an environment's key has letters, digits, - and _, not {order.key!r}")
        place = SetupPlace(self._folder, order.key)
        try:
            await asyncio.to_thread(place.make)
            return await self._start_setup(order, place)
        except OSError as error:
            await asyncio.to_thread(place.remove)
            raise SandboxUnavailable(
                f"the folder of a set-up cannot be made: {error}", hint=f"is there room in {self._folder}?"
            ) from error
        except BaseException:
            await asyncio.to_thread(place.remove)
            raise

    async def list(self) -> Sequence[tuple[Environment, int]]:
        """Return all that are kept and when each was last used; last used first."""
        return await asyncio.to_thread(self._list)

    def _list(self) -> Sequence[tuple[Environment, int]]:
        found = []
        for key in self._kept.found():
            environment = self._read(key)
            with contextlib.suppress(OSError):  # removed meanwhile
                if environment is not None:
                    found.append((self._kept.used_at(key), environment))
        found.sort(key=lambda each: each[0], reverse=True)
        return [(environment, int(used)) for used, environment in found]

    async def remove(self, keys: Sequence[str]) -> Sequence[str]:
        """Remove environments that nobody uses and that no claim holds; return the keys of those that are gone."""
        return await asyncio.to_thread(lambda: [key for key in keys if self._remove(key)])

    def _remove(self, key: str) -> bool:
        if _KEY.match(key) is None:
            return False
        with self._claims.claimed_at_once(key) as ours:
            return ours and (self._kept.remove(key) or self._kept.clear(key))

    async def pack(self, key: str, destination: Path) -> None:
        """Write a copy of an environment into a file, for another machine."""
        await asyncio.to_thread(self._pack, key, destination)

    def _pack(self, key: str, destination: Path) -> None:
        held = self.hold(key)
        if held is None:
            raise SandboxUnavailable(
                f"there is no environment {clean_line(key)} to copy", hint="`codexteam env build` builds it"
            )
        try:
            _tar("-cf", str(destination), "-C", str(held.folder), ABOUT, "home", "layer")
        finally:
            held.release()

    async def unpack(self, key: str, source: Path) -> Environment:
        """Take in what `pack` wrote, under a claim of its key."""
        return await asyncio.to_thread(self._unpack, key, source)

    def _unpack(self, key: str, source: Path) -> Environment:
        held = self.hold(key)
        if held is not None:
            held.release()
            return held.environment
        place = SetupPlace(self._folder, key)
        try:
            place.make()
            _tar(
                "-xpf", str(source), "-C", str(place.folder), "--same-owner" if os.getuid() == 0 else "--no-same-owner"
            )
            for path in (place.work, place.tmp):
                remove_tree(path)
            place.put()
        except OSError as error:
            place.remove()
            raise SandboxUnavailable(
                f"a copy of the environment {clean_line(key)} cannot be taken in: {error}",
                hint=f"is there room in {self._folder}?",
            ) from error
        except BaseException:
            place.remove()
            raise
        held = self.hold(key)
        if held is None:
            self._kept.remove(key)
            raise SandboxUnavailable(f"the copy is not of the environment {clean_line(key)}", hint=_COPY_AGAIN)
        held.release()
        return held.environment

    def sweep(self) -> Sequence[str]:
        """Remove what killed set-ups and removals left; give the names."""
        removed = self._kept.remove_gone()
        for path in self._folder.glob(f"{_NEW}*"):
            key = path.name.removeprefix(_NEW)
            if _KEY.match(key) is None or path.name.startswith(GONE):
                continue
            with self._claims.claimed_at_once(key) as ours:
                if ours:
                    remove_tree(path)
                    removed.append(path.name)
        self._remove_forgotten()
        return removed

    def _remove_forgotten(self) -> None:
        """Remove what no run of another repository has used for long: that may be gone, and nobody else would do it."""
        long_ago = time.time() - UNUSED_SECONDS
        for folder in self._folder.parent.glob("*"):
            if folder == self._folder or _OWNER.match(folder.name) is None or not folder.is_dir():
                continue
            kept = KeptFolders(folder)
            for key in kept.found():
                with contextlib.suppress(FileNotFoundError):
                    if kept.used_at(key) < long_ago:
                        kept.remove(key)
            if not any(kept.found()) and folder.stat().st_mtime < long_ago and not any(folder.glob(f"{_NEW}*")):
                remove_tree(folder)


_COPY_AGAIN = "codexteam of one version has to run on both machines"


def _tar(*argv: str) -> None:
    """Run tar, which keeps owners, rights and links as they are.

    Raises:
        SandboxUnavailable: it failed.
    """
    done = subprocess.run(
        ("tar", "--numeric-owner", *argv), check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    if done.returncode:
        said = clean_line(done.stderr.strip().rsplit("\n", 1)[-1])
        raise SandboxUnavailable(f"an environment cannot be copied: {said}", hint="is there room on the disk?")


class SetupPlace:
    """The folder of one set-up, until it is kept under its key or removed."""

    def __init__(self, folder: Path, key: str) -> None:
        self._kept = KeptFolders(folder)
        self.key = key
        self.folder = folder / f"{_NEW}{key}"
        self.work = self.folder / "work"
        self.home = self.folder / "home"
        self.tmp = self.folder / "tmp"
        self._user_home = self.tmp / Path(SETUP_USER_HOME).name
        self.caches = folder / ".caches"

    def make(self) -> None:
        """Make it anew; what a killed set-up left in its place is removed.

        Raises:
            OSError: the disk does not take it.
        """
        remove_tree(self.folder)
        for path in (self.folder, self.work, self.home, self.tmp, self._user_home, self.caches):
            path.mkdir(parents=True, exist_ok=True, mode=0o755)
            path.chmod(0o755)
            if os.getuid() == 0 and path != self.folder:
                os.chown(path, SANDBOX_UID, SANDBOX_UID)
        self.folder.parent.chmod(0o700)

    def remove(self) -> None:
        """Remove it, where it is still there."""
        remove_tree(self.folder)

    def remove_caches(self) -> None:
        """Remove the package caches, unless a set-up is at work."""
        if not any(self.folder.parent.glob(f"{_NEW}*")):
            gone = self.caches.with_name(f"{GONE}caches-{os.getpid()}")
            self.caches.rename(gone)
            remove_tree(gone)

    def put(self) -> None:
        """Give it its name; one that was there before is replaced."""
        self._kept.replace(self.key)
        self._kept.put(self.folder, self.key)


#: Programs whose version decides what a set-up makes; a sandbox sees those of the system alone.
_PROGRAMS = (
    *("python3", "pip3", "uv", "node", "npm", "yarn", "pnpm", "corepack", "bun", "deno"),
    *("go", "rustc", "cargo", "ruby", "gem", "bundle", "php", "composer", "java", "javac", "mvn", "gradle", "dotnet"),
    *("erl", "elixir", "mix", "gcc", "g++", "clang", "ld", "make", "cmake", "ninja", "pkg-config", "git", "bash"),
)
_RELEASES = (Path("/etc/os-release"), Path("/usr/lib/os-release"))


def host_identity() -> str:
    """Return a hash of the system's release, its C library and its toolchains.

    Files are looked at, not run: an update of a program changes its size or its time.
    """
    digest = hashlib.sha256()
    release = next((path for path in _RELEASES if path.is_file()), None)
    facts = [platform.machine(), " ".join(platform.libc_ver()), release.read_text(errors="replace") if release else ""]
    for name in _PROGRAMS:
        found = shutil.which(name, path=PATH)
        if found is None:
            continue
        path = Path(os.path.realpath(found))
        state = path.stat()
        facts.append(f"{name} {path} {state.st_size} {state.st_mtime_ns}")
    for fact in facts:
        digest.update(fact.encode("utf-8", "replace") + b"\0")
    return f"host {digest.hexdigest()[:16]}"
