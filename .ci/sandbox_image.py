"""Makes the image that sandbox tests run in, from this machine's own Debian packages: no registry is asked.

    python .ci/sandbox_image.py [--tag NAME] [--force]

The files of a few packages and of all they depend on go as one tar to `docker import`. The image carries a label with
the hash of this script and of the packages' versions; when the tag has it already, nothing is done. Exit 1, with the
reason, where the machine is not Debian, lacks a package, or no engine answers.
"""

import argparse
import hashlib
import io
import os
import re
import stat
import subprocess
import sys
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

TAG = "codexteam-sandbox:test"
LABEL = "codexteam.test-image"

REQUIRED = (
    *(
        "base-files",
        "base-passwd",
        "bash",
        "ca-certificates",
        "coreutils",
        "dash",
        "debianutils",
        "diffutils",
        "findutils",
    ),
    *("git", "grep", "gzip", "hostname", "libc-bin", "mawk", "patch", "procps", "python3", "sed", "tar", "util-linux"),
)
WELCOME = ("make", "python3-pytest", "iproute2")  # taken along where the machine has them

# git depends on perl for a few of its porcelain scripts, debconf only asks questions at installation
LEFT_OUT = frozenset({"debconf", "perl", "perl-base", "perl-modules-5.36"})
NOT_NEEDED = re.compile(r"/usr/share/(doc|man|locale|info|i18n|lintian|bug)/|.*/__pycache__/")

FOLDERS = {"tmp": 0o1777, "root": 0o700, "home": 0o755, "work": 0o777} | dict.fromkeys(
    ("proc", "sys", "dev", "run", "var", "var/tmp", "etc", "opt", "srv", "mnt", "media"), 0o755
)
TEXTS = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/bash\nagent:x:10001:10001::/work:/bin/bash\n",
    "etc/group": "root:x:0:\nagent:x:10001:\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}
CONFIGURATION = {
    "ENV": "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "CMD": '["bash"]',
}


class Packages:
    """What dpkg knows of the installed packages."""

    def __init__(self, listing: str) -> None:
        self._needs: dict[str, str] = {}
        self._providers: dict[str, str] = {}
        self._versions: dict[str, str] = {}
        for line in listing.splitlines():
            name, version, provides, needs = line.split("|", 3)
            self._needs[name], self._versions[name] = needs, version
            for virtual in _names(provides, ","):
                self._providers.setdefault(virtual, name)

    @classmethod
    def installed(cls) -> "Packages":
        """Ask dpkg."""
        form = "${Package}|${Version}|${Provides}|${Pre-Depends}, ${Depends}\n"
        return cls(_output("dpkg-query", "--show", f"--showformat={form}"))

    def _real(self, name: str) -> str | None:
        return name if name in self._needs else self._providers.get(name)

    def missing(self, names: Iterable[str]) -> list[str]:
        """Give those of `names` that nothing installed provides."""
        return [name for name in names if self._real(name) is None]

    def closure(self, names: Iterable[str]) -> dict[str, str]:
        """Everything that `names` need, with versions. Of alternatives the first that is installed counts."""
        found: dict[str, str] = {}
        waiting = list(names)
        while waiting:
            name = self._real(waiting.pop())
            if name is None or name in found or name in LEFT_OUT:
                continue
            found[name] = self._versions[name]
            for group in self._needs[name].split(","):
                installed = [choice for choice in _names(group, "|") if self._real(choice)]
                waiting += installed[:1]
        return dict(sorted(found.items()))


def _names(text: str, separator: str) -> Iterator[str]:
    """Package names without their version and architecture."""
    for part in text.split(separator):
        name = re.split(r"[\s(:]", part.strip(), maxsplit=1)[0]
        if name:
            yield name


def _output(*argv: str) -> str:
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def files_of(packages: Iterable[str]) -> list[Path]:
    """The packages' paths with linked folders resolved: on a merged /usr, /bin/ls is really /usr/bin/ls."""
    listed = {line for line in _output("dpkg", "--listfiles", *packages).splitlines() if line.startswith("/")}
    wanted = (Path(line) for line in listed if line != "/." and not NOT_NEEDED.match(line))
    paths = {Path(os.path.realpath(path.parent)) / path.name for path in [*wanted, *_made_at_installation()]}
    compiled = {path.parent / "__pycache__" for path in paths if path.suffix == ".py"}
    paths |= compiled | {path for folder in compiled for path in folder.glob("*.pyc")}
    return sorted(path for path in paths if os.path.lexists(path))


def _made_at_installation() -> Iterator[Path]:
    """What no package lists: the links of a merged /usr, of alternatives such as awk, and two caches."""
    yield from (path for path in map(Path, ("/bin", "/lib", "/lib32", "/lib64", "/sbin")) if path.is_symlink())
    for choice in Path("/etc/alternatives").glob("*"):
        yield choice
        yield from (path for path in (Path("/usr/bin", choice.name),) if path.is_symlink())
    yield Path("/etc/ld.so.cache")
    yield Path("/etc/ssl/certs/ca-certificates.crt")


def write_image(destination: BinaryIO, packages: Iterable[str]) -> int:
    """Write the root file system as a tar; give how many entries it has."""
    count = 0
    with tarfile.open(fileobj=destination, mode="w|", bufsize=1 << 20) as archive:
        for name, mode in FOLDERS.items():
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, mode
            archive.addfile(entry)
        for name, text in TEXTS.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
        for path in files_of(packages):
            name = str(path)[1:]
            if name in FOLDERS or name in TEXTS or not _can_be_packed(path):
                continue
            archive.add(path, arcname=name, recursive=False, filter=_plain)
            count += 1
    return count


def _can_be_packed(path: Path) -> bool:
    kind = path.lstat().st_mode
    return stat.S_ISREG(kind) or stat.S_ISDIR(kind) or stat.S_ISLNK(kind)


def _plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """Owned by root, and nothing setuid."""
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = "root"
    entry.mode &= 0o1777
    return entry


def image_key(packages: dict[str, str]) -> str:
    """What the image is made of: this script and the packages' versions."""
    digest = hashlib.sha256(Path(__file__).read_bytes())
    digest.update(repr(packages).encode())
    return digest.hexdigest()[:16]


def current_key(tag: str) -> str | None:
    """The key of the image that has the tag now; None when there is none."""
    form = f'{{{{index .Config.Labels "{LABEL}"}}}}'
    found = subprocess.run(["docker", "image", "inspect", "--format", form, tag], capture_output=True, check=False)
    return found.stdout.decode().strip() if found.returncode == 0 else None


def import_image(tag: str, packages: dict[str, str]) -> int:
    """Hand the file system to the engine; give how many entries it has."""
    changes = [f"{word} {value}" for word, value in CONFIGURATION.items()]
    changes.append(f"LABEL {LABEL}={image_key(packages)}")
    options = [part for change in changes for part in ("--change", change)]
    engine = subprocess.Popen(
        ["docker", "import", *options, "-", tag], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    assert engine.stdin is not None
    with engine.stdin as pipe:
        count = write_image(pipe, packages)  # type: ignore[arg-type]  # a pipe is all the tar stream needs
    if engine.wait() != 0:
        raise SystemExit(f"docker import ended with {engine.returncode}")
    return count


def main() -> None:
    """Make the image unless it is there."""
    parser = argparse.ArgumentParser(description="Make the sandbox image for tests from this machine's packages.")
    parser.add_argument("--tag", default=TAG)
    parser.add_argument("--force", action="store_true", help="make it even if it is current")
    options = parser.parse_args()
    try:
        packages = Packages.installed()
    except (OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"cannot list Debian packages ({error}): the test image is made of them. Name another image instead.")
    missing = packages.missing(REQUIRED)
    if missing:
        sys.exit(f"not installed here: {', '.join(missing)}. Install them: apt-get install {' '.join(missing)}")
    chosen = packages.closure([*REQUIRED, *WELCOME])
    try:
        if not options.force and current_key(options.tag) == image_key(chosen):
            print(f"{options.tag} is current")
            return
        count = import_image(options.tag, chosen)
    except OSError as error:
        sys.exit(f"docker cannot be run: {error}")
    print(f"{options.tag}: {len(chosen)} packages, {count} files and folders")


if __name__ == "__main__":
    main()
