"""Adds compiled code to the archive that this program is shipped in, for the Python that runs this.

Python keeps no compiled form of what it imports from an archive, and compiling is half of a start. Code that another
Python compiled is passed over when it is read, and its source, which stays in the archive, is used instead.
"""

from __future__ import annotations

import importlib.util
import marshal
import os
import sys
import zipfile

#: The code is used without a look at its source.
UNCHECKED = (1).to_bytes(4, "little")


def compile_archive(source: str, target: str) -> None:
    """Write the archive `source` with compiled code to `target`, which may be the same."""
    written = f"{target}.new-{os.getpid()}"
    with zipfile.ZipFile(source) as plain, zipfile.ZipFile(written, "w") as full:
        for entry in plain.infolist():
            data = plain.read(entry)
            full.writestr(entry, data)
            code = compile(data, os.path.basename(target) + "/" + entry.filename, "exec", dont_inherit=True)
            header = importlib.util.MAGIC_NUMBER + UNCHECKED + importlib.util.source_hash(data)
            full.writestr(zipfile.ZipInfo(entry.filename + "c", entry.date_time), header + marshal.dumps(code))
    os.replace(written, target)


def main() -> None:
    """Do it with the two paths that are this process's arguments."""
    compile_archive(sys.argv[1], sys.argv[2])
