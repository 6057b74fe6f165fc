"""The program that makes servers beside a sandbox reachable at other ports than those on which they listen.

One file of standard library only, with the syntax of Python 3.7, since it runs on the interpreter of an image. Its
one argument is a JSON list of pairs: where to listen and where to connect, each a port of loopback or the path of a
socket, which leads into another network namespace. It listens once all that it connects to can be connected to.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

CHUNK = 64 << 10
PAUSE_SECONDS = 0.1
#: Is there once all ports are listened on.
LISTENING = "/tmp/listening"  # noqa: S108 - its container's own


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            data = await reader.read(CHUNK)
            if not data:
                break
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()  # the other direction may have more to say
    except OSError:
        writer.close()


async def _connect(place: int | str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if isinstance(place, str):
        return await asyncio.open_unix_connection(place)
    return await asyncio.open_connection("127.0.0.1", place)


async def _until_open(place: int | str) -> None:
    while True:
        try:
            _, writer = await _connect(place)
        except OSError:
            await asyncio.sleep(PAUSE_SECONDS)
        else:
            writer.close()
            return


async def _serve(pairs: list[list[int | str]]) -> None:
    async def listen(outer: int | str, inner: int | str) -> None:
        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                far_reader, far_writer = await _connect(inner)
            except OSError:
                writer.close()
                return
            try:
                await asyncio.gather(_copy(reader, far_writer), _copy(far_reader, writer))
            finally:
                far_writer.close()
                writer.close()

        if isinstance(outer, str):
            await asyncio.start_unix_server(connected, outer)
        else:
            await asyncio.start_server(connected, "127.0.0.1", outer)

    for outer, inner in pairs:
        await _until_open(inner)
        await listen(outer, inner)
    _say_ready()
    await asyncio.Event().wait()


def _say_ready() -> None:
    Path(LISTENING).touch()


def main() -> None:
    asyncio.get_event_loop().run_until_complete(_serve(json.loads(sys.argv[1])))


if __name__ == "__main__":
    main()
