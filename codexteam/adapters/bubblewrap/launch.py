"""Prepares what bubblewrap itself cannot, then becomes bubblewrap: a program of its own, run by our interpreter.

In a mount namespace of its own it lays a copy-on-write workspace of limited size over a read-only base, joins
control groups, sets limits and gives up root. Nothing of it can be seen from outside that namespace, and nothing is
left when the last process and the last descriptor of it are gone, whatever dies in which order.

Its one argument is a JSON object; see `Launch` in `launching`. It is standard library only and imports nothing of ours.
"""

import ctypes
import fcntl
import json
import os
import resource
import shutil
import sys
from pathlib import Path

_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_BIND, _MS_REC, _MS_PRIVATE = 1, 2, 4, 4096, 16384, 1 << 18
_CLONE_NEWNS, _CLONE_NEWUSER = 0x20000, 0x10000000
_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    done = _libc.mount(source.encode(), os.fsencode(target), kind.encode(), ctypes.c_ulong(flags), options.encode())
    _check(done, f"mounting {kind or 'a folder'} on {target}")


def _own_namespaces() -> None:
    uid, gid = os.getuid(), os.getgid()
    _check(_libc.unshare(_CLONE_NEWNS | (0 if uid == 0 else _CLONE_NEWUSER)), "making a mount namespace")
    if uid != 0:
        Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
        Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1", encoding="ascii")
        Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1", encoding="ascii")
    _mount("none", "/", "", _MS_REC | _MS_PRIVATE)


def _build(area: str, plan: dict) -> None:  # type: ignore[type-arg]  # JSON
    """Fill the area: the workspace (`work`), `private`, `etc`, and everything that bubblewrap shall bind, by name."""
    uid, gid = plan["uid"], plan["gid"]
    sources = {name: os.open(path, os.O_PATH | os.O_CLOEXEC) for name, path in plan["binds"].items()}
    size = f"size={plan['workspace_bytes']},nr_inodes={plan['workspace_files']},mode=0755"
    copies = {name: Path(path).read_bytes() for name, path in plan["copies"].items()}
    _mount("tmpfs", area, "tmpfs", _MS_NOSUID | _MS_NODEV, size)
    os.umask(0o022)
    for name in ("upper", "layer", "work", "private"):
        Path(f"{area}/{name}").mkdir(mode=0o755)
        os.chown(f"{area}/{name}", uid, gid)
    for name, data in copies.items():
        Path(f"{area}/{name}").write_bytes(data)
    for name, source in sources.items():
        target = f"{area}/{name}"
        if name != "work":
            Path(target).mkdir(mode=0o755)
        _mount(f"/proc/self/fd/{source}", target, "", _MS_BIND)
        os.close(source)
    if plan["overlay"]:
        lower = os.open(plan["overlay"], os.O_PATH | os.O_CLOEXEC)
        options = f"lowerdir=/proc/self/fd/{lower},upperdir={area}/upper,workdir={area}/layer"
        if os.getuid() != 0:
            options += ",userxattr"
        _mount("overlay", f"{area}/work", "overlay", _MS_NOSUID | _MS_NODEV, options)
        os.close(lower)
    for program in plan["programs"]:  # where the unprivileged user may start it
        shutil.copytree(program["from"], f"{area}/{program['to']}", symlinks=True)


def main() -> None:
    """Do what the plan says, then become bubblewrap."""
    plan = json.loads(sys.argv[1])
    for path in plan["cgroups"]:
        Path(path).write_text("0", encoding="ascii")
    if plan["join"]:
        for descriptor in plan["join"]:
            _check(_libc.setns(descriptor, 0), "joining the workspace")
            os.close(descriptor)
    elif plan["area"]:
        _own_namespaces()
        _build(plan["area"], plan)
    for name, value in plan["rlimits"].items():
        number = getattr(resource, f"RLIMIT_{name}")
        hard = resource.getrlimit(number)[1]
        limit = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(number, (limit, limit))
    if os.getuid() == 0:
        os.setgroups([])
        os.setresgid(plan["gid"], plan["gid"], plan["gid"])
        os.setresuid(plan["uid"], plan["uid"], plan["uid"])
    for descriptor in plan["keep"]:
        fcntl.fcntl(descriptor, fcntl.F_SETFD, 0)
    os.chdir("/")
    os.execve(plan["argv"][0], plan["argv"], plan["env"])  # noqa: S606 - that is what it is for


if __name__ == "__main__":
    try:
        main()
    except OSError as error:
        sys.exit(f"codexteam: {error}")
