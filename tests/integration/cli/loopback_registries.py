"""Package registries on loopback: an index of wheels and an npm registry, of our own packages and of real managers.

The managers themselves (pip, uv, poetry; pnpm, yarn, bun) are fetched once from the public registries and kept in a cache
folder; whoever has no network leaves the tests that need them out.
"""

import base64
import functools
import hashlib
import http.server
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

WHEELS = ("pip", "uv", "pytest", "setuptools", "poetry", "poetry-plugin-export", "pdm", "pipenv")
#: Managers, and what their programs come in for this machine's processor.
NPM_PACKAGES = (
    "pnpm@9.15.9",
    "yarn@1.22.22",
    "@yarnpkg/cli-dist@4.18.1",
    "bun@1.4.5",
    "@oven/bun-linux-x64@1.4.5",
)


def _cache() -> Path:
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "codexteam-test-packages"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def fetched_wheels() -> Path:
    """Return a folder with the wheels of `WHEELS` and what they need."""
    folder = _cache() / "wheels"
    if not all(any(folder.glob(f"{name.replace('-', '_')}-*.whl")) for name in WHEELS):
        line = [sys.executable, "-m", "pip", "download", "-q", "--only-binary", ":all:", "-d", str(folder), *WHEELS]
        done = subprocess.run(line, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"the Python registry is not reached: {done.stderr.strip()[-200:]}")
    return folder


def fetched_npm() -> Path:
    """Return a folder with the archives of `NPM_PACKAGES`."""
    folder = _cache() / "npm"
    folder.mkdir(exist_ok=True)
    for package in NPM_PACKAGES:
        if not (folder / f"{package.lstrip('@').replace('@', '-').replace('/', '-')}.tgz").exists():
            line = ["npm", "pack", "--silent", package, "--pack-destination", str(folder)]
            done = subprocess.run(line, capture_output=True, text=True, check=False)
            if done.returncode:
                pytest.skip(f"the npm registry is not reached: {done.stderr.strip()[-200:]}")
    return folder


def write_wheel(folder: Path, name: str, source: str) -> Path:
    """Write a wheel of one module, and return it."""
    path = folder / f"{name}-1.0-py3-none-any.whl"
    info = f"{name}-1.0.dist-info"
    files = {
        f"{name}.py": source,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{file},{_record_hash(text)},{len(text)}\n" for file, text in files.items())
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in {**files, f"{info}/RECORD": f"{record}{info}/RECORD,,\n"}.items():
            archive.writestr(file, text)
    return path


def _record_hash(text: str) -> str:
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")


def write_index(root: Path, wheels: list[Path]) -> None:
    """Lay wheels out as the folder listing that serves as an index: `simple/NAME/FILE`."""
    for wheel in wheels:
        folder = root / "simple" / re.sub(r"[-_.]+", "-", wheel.name.partition("-")[0]).lower()
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / wheel.name).exists():
            (folder / wheel.name).symlink_to(wheel)


def pack(name: str, source: str) -> bytes:
    """Return the archive of an npm package of one module."""
    about = json.dumps({"name": name, "version": "1.0.0", "main": "index.js"})
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as archive:
        for file, text in (("package/package.json", about), ("package/index.js", source)):
            entry = tarfile.TarInfo(file)
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    return data.getvalue()


def write_npm(root: Path, address: str, archives: list[bytes]) -> None:
    """Lay archives out as a registry: a document for each name, and the archives."""
    for data in archives:
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            member = archive.extractfile("package/package.json")
            assert member is not None
            about = json.loads(member.read())
        name, version = about["name"], about["version"]
        file = f"{name.rpartition('/')[2]}-{version}.tgz"
        (root / "-").mkdir(parents=True, exist_ok=True)
        (root / "-" / file).write_bytes(data)
        dist = {
            "tarball": f"{address}/-/{file}",
            "shasum": hashlib.sha1(data, usedforsecurity=False).hexdigest(),
            "integrity": integrity(data),
        }
        document = {
            "name": name,
            "dist-tags": {"latest": version},
            "versions": {version: {**about, "dist": dist}},
            # newer managers leave out what was published lately, or nobody knows when
            "time": {version: "2024-01-01T00:00:00.000Z"},
        }
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(json.dumps(document))


def integrity(data: bytes) -> str:
    """Return what lock files hold of an archive."""
    return "sha512-" + base64.b64encode(hashlib.sha512(data).digest()).decode()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing of requests."""


@contextmanager
def served(root: Path) -> Iterator[str]:
    """Serve a folder on loopback; gives its address."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(root)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
