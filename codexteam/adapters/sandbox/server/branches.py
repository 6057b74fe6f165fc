"""Work that only other branches or stashes of the agent's repository hold: it is not taken, but said."""

from __future__ import annotations

import os
import re

from .files import read_some
from .git import LOOKED_AT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .git import Git
    from .protocol import Remarks

#: Branches, stashes, and files of each, that are looked at.
MAX_TIPS = 20
OBJECT_ID = re.compile(r"(?:[0-9a-f]{40}|[0-9a-f]{64})\Z")


class Branches:
    """The agent's own branches and stashes, beside the files that a snapshot takes."""

    def __init__(self, git: Git) -> None:
        self.git = git

    def elsewhere(self, base: str, tree: str) -> Remarks:
        """Return work that only other branches or stashes of the agent's repository hold."""
        tips = self.agent_tips()
        head = tips.pop("HEAD", base)
        remarks: Remarks = []
        for name, tip in sorted(tips.items())[:MAX_TIPS]:
            if tip in (base, head) or self.git.look("merge-base", "--is-ancestor", tip, head) is not None:
                continue
            theirs = self.git.look("diff-tree", "-r", "-z", "--name-only", base, tip)
            differ = self.git.look("diff-tree", "-r", "-z", "--name-only", tree, tip)
            if theirs is None or differ is None:
                continue
            lost = sorted((set(theirs.split(b"\0")) & set(differ.split(b"\0"))) - {b""})
            if name.startswith("stash"):  # with -u, the third parent has the untracked files
                untracked = self.git.look("ls-tree", "-r", "-z", "--name-only", tip + "^3") or b""
                there = {
                    n
                    for n in untracked.split(b"\0")
                    if n and not os.path.lexists(os.path.join(os.fsencode(self.git.workspace), n))
                }
                lost = sorted({*lost, *there})
            for each in lost[:MAX_TIPS]:
                where = f"the stash ({name})" if name.startswith("stash") else f"the branch {name}"
                remarks.append(
                    (os.fsdecode(each), f"what {where} has of it is not in your files, which alone are taken")
                )
        return remarks

    def agent_tips(self) -> dict[str, str]:
        """Return where the agent's branches and stashes are, and HEAD: read from its files, no git of it is run."""
        tips: dict[str, str] = {}
        heads = os.path.join(self.git.agent_dir, "refs", "heads")
        packed = read_some(os.path.join(self.git.agent_dir, "packed-refs")).decode("utf-8", "surrogateescape")
        for line in packed.splitlines():
            tip, _, name = line.partition(" ")
            if name.startswith("refs/heads/"):
                tips[name[len("refs/heads/") :]] = tip
        for parent, _, names in os.walk(heads):
            for name in names[:LOOKED_AT]:
                path = os.path.join(parent, name)
                tips[os.path.relpath(path, heads)] = read_some(path).decode("ascii", "replace").strip()
        log = read_some(os.path.join(self.git.agent_dir, "logs", "refs", "stash")).splitlines()
        for number, entry in enumerate(reversed(log[-MAX_TIPS:])):
            tips[f"stash@{{{number}}}"] = entry.decode("ascii", "replace").split(" ")[1] if b" " in entry else ""
        if not os.path.lexists(os.path.join(self.git.agent_dir, "refs", "stash")) and " refs/stash" not in packed:
            tips = {name: tip for name, tip in tips.items() if not name.startswith("stash@")}
        head = read_some(os.path.join(self.git.agent_dir, "HEAD")).decode("utf-8", "surrogateescape").strip()
        name = head[len("ref: refs/heads/") :] if head.startswith("ref: refs/heads/") else ""
        tips["HEAD"] = tips.get(name, head)
        return {name: tip for name, tip in tips.items() if OBJECT_ID.match(tip)}
