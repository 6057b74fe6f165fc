"""Prepares what bubblewrap itself cannot, then becomes bubblewrap: a program of its own, run by our interpreter.

In a mount namespace of its own it lays a copy-on-write workspace of limited size over a read-only base, joins
control groups, sets limits and gives up root. Nothing of it can be seen from outside that namespace, and nothing is
left when the last process and the last descriptor of it are gone, whatever dies in which order.

Its one argument is marshalled, in hexadecimal digits; see `Launch` in `launch_plan`. It imports nothing of ours, and of
the standard library as little as can be: each sandbox waits for it.
"""

import ctypes
import marshal
import os
import resource
import stat
import sys

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


def _write(path: str, data: bytes) -> None:
    with open(path, "wb") as file:
        file.write(data)


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _own_namespaces() -> None:
    uid, gid = os.getuid(), os.getgid()
    _check(_libc.unshare(_CLONE_NEWNS | (0 if uid == 0 else _CLONE_NEWUSER)), "making a mount namespace")
    if uid != 0:
        _write("/proc/self/setgroups", b"deny")
        _write("/proc/self/uid_map", b"%d %d 1" % (uid, uid))
        _write("/proc/self/gid_map", b"%d %d 1" % (gid, gid))
    _mount("none", "/", "", _MS_REC | _MS_PRIVATE)


def _build(area: str, plan: dict) -> None:  # type: ignore[type-arg]  # JSON
    """Fill the area: the workspace (`work`), `private`, `etc`, and everything that bubblewrap shall bind, by name."""
    uid, gid = plan["uid"], plan["gid"]
    sources = {name: os.open(path, os.O_PATH | os.O_CLOEXEC) for name, path in plan["binds"].items()}
    size = f"size={plan['workspace_bytes']},nr_inodes={plan['workspace_files']},mode=0755"
    copies = {name: _read(path) for name, path in plan["copies"].items()}
    _mount("tmpfs", area, "tmpfs", _MS_NOSUID | _MS_NODEV, size)
    os.umask(0o022)
    for name in ("upper", "layer", "work", "private"):
        os.mkdir(f"{area}/{name}", 0o755)
        os.chown(f"{area}/{name}", uid, gid)
    for name, data in copies.items():
        _write(f"{area}/{name}", data)
    for name, source in sources.items():
        target = f"{area}/{name}"
        if not stat.S_ISDIR(os.fstat(source).st_mode):
            _write(target, b"")
        elif name != "work":
            os.mkdir(target, 0o755)
        _mount(f"/proc/self/fd/{source}", target, "", _MS_BIND)
        os.close(source)
    if plan["tree"]:
        _lay(area, plan)
    for program in plan["programs"]:  # where the unprivileged user may start it
        import shutil

        shutil.copytree(program["from"], f"{area}/{program['to']}", symlinks=True)


def _lay(area: str, plan: dict) -> None:  # type: ignore[type-arg]  # JSON
    """Lay the workspace over the checkout and, beneath that, an environment's layer; or copy what is small."""
    lowers = [path for path in (plan["tree"], plan["layer"]) if path]
    work = f"{area}/work"
    if plan["copied"]:
        lowers.remove(plan["tree"])
        if plan["layer_copied"]:
            lowers = []
        place = f"{area}/upper" if lowers else work
        _copy(f"{plan['tree']}/.", place)
        if plan["layer"] and plan["layer_copied"]:
            _copy_missing(plan["layer"], place)
    if not lowers:
        return
    sources = [os.open(path, os.O_PATH | os.O_CLOEXEC) for path in lowers]
    below = ":".join(f"/proc/self/fd/{source}" for source in sources)
    options = f"lowerdir={below},upperdir={area}/upper,workdir={area}/layer"
    # without redirects a folder of the checkout cannot be renamed (EXDEV); the kernel keeps them to root, since
    # whoever could write one would read what it names
    options += ",redirect_dir=on" if os.getuid() == 0 else ",userxattr"
    _mount("overlay", work, "overlay", _MS_NOSUID | _MS_NODEV, options)
    for source in sources:
        os.close(source)


def _copy(*names: str) -> None:
    import subprocess

    try:
        subprocess.run(("cp", "-a", "--", *names), check=True, stdin=subprocess.DEVNULL)
    except subprocess.CalledProcessError as error:
        raise OSError(str(error)) from error


def _copy_missing(source: str, target: str) -> None:
    """Copy what is not there, into folders that are."""
    missing = []
    for entry in os.scandir(source):
        place = os.path.join(target, entry.name)
        if not os.path.lexists(place):
            missing.append(entry.path)
        elif entry.is_dir(follow_symlinks=False) and os.path.isdir(place) and not os.path.islink(place):
            _copy_missing(entry.path, place)
    if missing:
        _copy(*missing, target)


def main() -> None:
    """Do what the plan says, then become bubblewrap."""
    plan = marshal.loads(bytes.fromhex(sys.argv[1]))  # noqa: S302 - the interpreter that wrote it, and we alone, made it
    for path in plan["cgroups"]:
        _write(path, b"0")
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
        os.set_inheritable(descriptor, True)  # noqa: FBT003 - it takes no name
    os.chdir("/")
    os.execve(plan["argv"][0], plan["argv"], plan["env"])  # noqa: S606 - that is what it is for


if __name__ == "__main__":
    try:
        main()
    except OSError as error:
        sys.exit(f"codexteam: {error}")
