"""What tells this host from another for whatever is built on its programs: the system's release and its toolchains."""

import hashlib
import os
import platform
import shutil
from pathlib import Path

from codexteam.adapters.sandbox.bubblewrap.launch_plan import PATH

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
