"""Which texts a tree holds already, in whatever file: what stands in the base is not new when it moves."""

from codexteam.adapters.git.hub import Hub
from codexteam.adapters.git.runner import GitCall, GitDeadline
from codexteam.core.ids import TreeId

#: Searches of the whole tree for one intake: work with more findings than that is looked at by a person.
_MAX_SEARCHES = 60
#: Parts of a text of many lines that are looked for: three of them in one file are not a coincidence.
_PARTS = 3
_OUTPUT_BYTES = 4 << 20


class KnownTexts:
    """Looks for texts in one tree of the hub."""

    def __init__(self, hub: Hub, tree: TreeId, deadline: GitDeadline) -> None:
        """Take the tree and when to give up."""
        self._hub = hub
        self._tree = tree
        self._deadline = deadline
        self._found: dict[str, frozenset[bytes]] = {}

    def in_one_file(self, parts: tuple[str, ...]) -> bool:
        """Return whether one file holds the parts of a text: of many the first, the longest and the last."""
        wanted = tuple(dict.fromkeys((parts[0], max(parts, key=len), parts[-1])))[:_PARTS]
        files = self._files_with(wanted[0])
        for part in wanted[1:]:
            files = files and files & self._files_with(part)
        return bool(files)

    def _files_with(self, text: str) -> frozenset[bytes]:
        if text not in self._found:
            if len(self._found) >= _MAX_SEARCHES or "\n" in text or not text:
                return frozenset()
            # the text goes through standard input: it may be a credential, and arguments are for all to see
            call = GitCall(
                ("grep", "-l", "-z", "-a", "-F", "-f", "-", self._tree),
                self._hub.path,
                stdin=text.encode("utf-8", "surrogatepass") + b"\n",
                deadline=self._deadline,
                output_bytes=_OUTPUT_BYTES,
            )
            result = self._hub.runner.run(call)
            self._found[text] = frozenset(result.out.split(b"\0")) - {b""} if result.ok else frozenset()
        return self._found[text]
