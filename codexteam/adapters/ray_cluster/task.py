"""A worker's process: Ray's task on the outside, the agent's event loop within."""

import asyncio
import contextlib
import importlib
import os
import pickle
import queue
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from codexteam.errors import SandboxLost

_END = None
#: Files that nobody has used for so long are removed.
_UNUSED_SECONDS = 7 * 24 * 3600.0


class LetterLink:
    """The run, as a worker of Ray reaches it: a `RunLink`. For the tasks of one event loop."""

    def __init__(self, worker: str, letters: Any, said: "queue.SimpleQueue[bytes | None]", folder: Path) -> None:
        self._worker = worker
        self._letters = letters
        self._said = said
        self._folder = folder
        self._heard: asyncio.Queue[object] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()

    def send(self, message: object) -> None:
        """Send the run a message."""
        self._said.put(pickle.dumps(message))

    async def receive(self) -> object:
        """Return the next message of the run."""
        heard = await self._heard.get()
        if isinstance(heard, SandboxLost):
            self._heard.put_nowait(heard)  # for who asks again
            raise heard
        return heard

    def listen(self) -> None:
        """Take what the run says until it lets go; runs in a thread of its own."""
        import ray

        while True:
            try:
                letters = ray.get(self._letters.take.remote(self._worker))
            except Exception as error:  # noqa: BLE001 - whatever Ray says of it: the run is not there
                self._hear(SandboxLost(f"the run does not answer: {error}"))
                return
            if letters is None:
                self._hear(SandboxLost("the run has let go of this worker"))
                return
            for letter in letters:
                self._hear(pickle.loads(letter))  # noqa: S301 - the run's own

    def _hear(self, message: object) -> None:
        try:
            self._loop.call_soon_threadsafe(self._heard.put_nowait, message)
        except RuntimeError:  # the loop is closed: the agent has ended
            return

    async def fetch(self, handle: object) -> Path:
        """Return a copy of a file that the run shares, kept for other agents on this machine."""
        return await asyncio.to_thread(self._fetch, str(handle))

    def _fetch(self, digest: str) -> Path:
        import ray

        path = self._folder / digest
        if path.is_file():
            os.utime(path)
            return path
        [reference] = ray.get(self._letters.file.remote(digest))
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = path.with_name(f".{digest}-{os.getpid()}-{threading.get_ident()}")
        new.write_bytes(ray.get(reference))
        new.replace(path)
        _tidy(self._folder)
        return path


def _tidy(folder: Path) -> None:
    long_ago = time.time() - _UNUSED_SECONDS
    for path in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):  # somebody else tidies too
            if path.stat().st_mtime < long_ago:
                path.unlink()


def work(version: str, entry: str, worker: str, order: bytes, letters: Any) -> Iterator[bytes]:
    """Let an agent work, and yield what it says; a task of Ray.

    Args:
        version: The run's codexteam.
        entry: The module that does the work: its `serve_bytes` is called, and files are kept in its `files_folder`.
        worker: Its name in the letter box.
        order: What it gets first, pickled.
        letters: The run's letter box.
    """
    import ray

    context = ray.get_runtime_context()
    address: Any = ray.util.get_node_ip_address  # not typed
    host = f"{address()}-{context.get_node_id()[:8]}"
    said: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    module = importlib.import_module(entry)

    async def run() -> None:
        link = LetterLink(worker, letters, said, module.files_folder())
        threading.Thread(target=link.listen, daemon=True, name=f"letters of {worker}").start()
        await module.serve_bytes(version, order, link, host)

    def run_to_its_end() -> None:
        try:
            asyncio.run(run())
        finally:
            said.put(_END)

    thread = threading.Thread(target=run_to_its_end, name=worker)
    thread.start()
    while (message := said.get()) is not _END:
        yield message
    thread.join()
