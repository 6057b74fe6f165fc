"""Whatever a model writes as a patch: hunks or a refusal, writes inside the workspace or a reason, the same each time."""

from difflib import SequenceMatcher

import pytest
from hypothesis import strategies as st

from codexteam.agent.patch.apply import AppliedPatch, DoesNotFit, FileState, Unreadable, apply_hunks, paths_of
from codexteam.agent.patch.parse import NotAPatch, parse_patch
from tests.fuzz.mutations import mutated
from tests.fuzz.running import TIMEOUT, fuzz, require
from tests.integration.agent.patch.generator import Case, make_case

pytestmark = [TIMEOUT, pytest.mark.slow]

ROOT = "/work"
FILE = "def f():\n    return 1\n\n\nclass A:\n    x = 1\n    y = 2\n\n    def g(self):\n        return self.x\n"
PATCHES = [
    "*** Begin Patch\n*** Update File: a.py\n@@ def f():\n-    return 1\n+    return 2\n*** End Patch",
    "*** Begin Patch\n*** Update File: a.py\n*** Move to: b/c.py\n@@ class A:\n     x = 1\n-    y = 2\n+    y = 3\n"
    "@@\n     def g(self):\n-        return self.x\n+        return self.y\n*** End of File\n*** End Patch\n",
    "*** Begin Patch\n*** Add File: new/file.py\n+one\n+\n+two\n*** Delete File: d.txt\n*** End Patch",
    "<<'EOF'\n*** Begin Patch\n*** Update File: a.py\n def f():\n-    return 1\n+    return 3\n*** End Patch\nEOF\n",
]
TOKENS = [
    "*** Begin Patch", "*** End Patch", "*** Add File: a.py", "*** Add File: ../../etc/passwd",
    "*** Add File: /work/x", "*** Add File: /etc/x",
    "*** Update File: a.py", "*** Update File: d.txt", "*** Delete File: a.py", "*** Move to: ../x",
    "*** Move to: a.py/x", "*** End of File",
    "*** Environment ID: e", "@@", "@@ class A:", "@@ def f():", "+x", "-x", " x", "-    return 1", "     x = 1",
    "<<EOF", "EOF", "+", "-", " ",
    "*** Add File: .git/config", "*** Add File: dir", "*** Add File: a.py/../b", "*** Update File: crlf.txt",
    "*** Update File: bad",
]  # fmt: skip
STATES: dict[str, FileState] = {
    "a.py": FILE.encode(),
    "d.txt": b"one\ntwo",
    "crlf.txt": b"one\r\ntwo\r\n",
    "bad": b"\xff\xfe\n",
    "dir": Unreadable("it is a folder"),
}
INPUTS = st.one_of(
    mutated(PATCHES, TOKENS, surrogates=True).map(lambda text: Case("mutated", {}, text)),
    # line by line around what fits, so that most of it gets past the parser
    st.integers(0, 1 << 30).map(make_case),
)


def _holds(case: Case) -> str:
    text = case.patch
    states: dict[str, FileState] = {**STATES, **case.files}
    hunks = parse_patch(text)
    require(hunks == parse_patch(text), "the same text is read the same")
    if isinstance(hunks, NotAPatch):
        require(bool(hunks.message), "a refusal has its reason")
        return "no patch"
    outcome = apply_hunks(hunks, states, root=ROOT)
    require(outcome == apply_hunks(hunks, states, root=ROOT), "the same hunks are applied the same")
    require(bool(paths_of(hunks)) or isinstance(outcome, DoesNotFit), "what fits names a path")
    for path, data in outcome.writes.items():
        parts = path.split("/")
        require(not {"", ".", ".."} & set(parts), "what is written lies in the workspace")
        require(path != "dir", "a folder is not written over")
        require(data is None or bool(data.decode()) or not data, "what is written is UTF-8")
    if isinstance(outcome, DoesNotFit):
        require(bool(outcome.message), "what does not fit has its reason")
        return "does not fit"
    assert isinstance(outcome, AppliedPatch)
    require(outcome.text.startswith("Success. Updated the following files:\n"), "Codex's own words")
    return "applied"


def test_any_text_is_a_patch_or_a_reason_and_stays_in_the_workspace() -> None:
    met = fuzz("patch", INPUTS, _holds, short=400)
    assert all(met[word] > 10 for word in ("no patch", "does not fit", "applied")), met


_LINE = st.sampled_from(["a", "b", "c", "  a", "a  ", "", "}", "-", "+", "@@", "*** End of File", "\u2013", "x = 1"])
_SIDES = st.tuples(st.lists(_LINE, max_size=14), st.lists(_LINE, max_size=14), st.booleans())


def _whole_patch(old: list[str], new: list[str]) -> str:
    body = []
    for way, old_from, old_to, new_from, new_to in SequenceMatcher(a=old, b=new, autojunk=False).get_opcodes():
        if way == "equal":
            body += [f" {line}" for line in old[old_from:old_to]]
        else:
            body += [f"-{line}" for line in old[old_from:old_to]]
            body += [f"+{line}" for line in new[new_from:new_to]]
    return "\n".join(["*** Begin Patch", "*** Update File: f", "@@", *body, "*** End Patch"])


def _round_trip(sides: tuple[list[str], list[str], bool]) -> str:
    old, new, ends = sides
    if not old or not new or old == new:
        return "nothing to do"
    before = "\n".join(old) + ("\n" if ends else "")
    if before.endswith("\n") is not ends or before.split("\n")[: len(old)] != old:
        return "nothing to do"
    hunks = parse_patch(_whole_patch(old, new))
    assert not isinstance(hunks, NotAPatch), hunks
    applied = apply_hunks(hunks, {"f": before.encode()}, root=ROOT)
    assert isinstance(applied, AppliedPatch), applied
    require(applied.writes["f"] == ("\n".join(new) + "\n").encode(), "the new file")
    return "changed"


def test_a_patch_that_shows_the_whole_file_makes_the_new_one_of_the_old() -> None:
    met = fuzz("patch, whole files", _SIDES, _round_trip, short=300)
    assert met["changed"] > 30, met
