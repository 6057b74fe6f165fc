"""A change as a judge reads it: every file with its size, then as much of each file's diff as there is room for.

The room is shared by relevance: code before tests, texts, data, generated and lock files. No file takes the room of
all others, and what is left out of a file is said where it is left out.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from codexteam.core.file_kinds import Relevance
from codexteam.core.text import count_of

#: How large a file's share is beside another's, when not everything fits.
_WEIGHT = {
    Relevance.CODE: 8,
    Relevance.TEST: 4,
    Relevance.PROSE: 4,
    Relevance.DATA: 1,
    Relevance.GENERATED: 1,
    Relevance.LOCK: 1,
}
#: What nobody wrote by hand shows its beginning, however much room there is.
_MOST_BYTES = {Relevance.GENERATED: 4_000, Relevance.LOCK: 4_000}
#: When not everything fits, a table shows no more than what it is made of.
_MOST_BYTES_WHEN_CUT = {**_MOST_BYTES, Relevance.DATA: 12_000}
#: The list of files takes at most this part of the whole.
_LIST_PART = 4
#: For the line that says what was cut.
_MARK_BYTES = 120
#: A longer line is not code: its middle is left out.
_LINE_CHARACTERS = 2_000
_LINE_HEAD, _LINE_TAIL = 1_200, 600


@dataclass(frozen=True, slots=True)
class FileDiff:
    """One changed file."""

    status: str
    """Git's letter; R for a file that only moved."""
    name: str
    """Escaped, on one line; `old -> new` for one that moved."""
    facts: str
    """Sizes and what else the list says of it."""
    relevance: Relevance
    patch: str = ""
    """Its diff, escaped; empty when it is not shown as text, or only its beginning."""
    patch_bytes: int = 0
    """The size of the whole diff."""
    left_out: str = ""
    """Why a diff that there is, is not here."""


def diff_digest(files: Sequence[FileDiff], limit_bytes: int) -> tuple[str, bool]:
    """Return a change in at most about so many bytes, and whether anything of it was left out."""
    if not files:
        return "", False
    ordered = sorted(files, key=lambda file: file.relevance.value)
    tidy = [_with_short_lines(file.patch) for file in ordered]
    wanted = [
        _size(text) + max(file.patch_bytes - _size(file.patch), 0) for file, text in zip(ordered, tidy, strict=True)
    ]
    listing, folded = _listing(ordered, limit_bytes // _LIST_PART)
    shares = _shares(ordered, wanted, max(limit_bytes - _size(listing) - len(files), 0))
    cut = folded or any(
        file.left_out or share < want or text != file.patch
        for file, text, want, share in zip(ordered, tidy, wanted, shares, strict=True)
    )
    parts = [_part(text, want, share) for text, want, share in zip(tidy, wanted, shares, strict=True)]
    return listing + "".join(f"\n{part}" for part in parts if part), cut


def _part(text: str, want: int, share: int) -> str:
    if share >= want:
        return text
    kept = _head(text, share - _MARK_BYTES)
    if not kept:
        return ""
    return f"{kept}[cut: {_size(kept):,} of {want:,} bytes of this file's diff are shown]\n"


def _head(text: str, size_bytes: int) -> str:
    """Return whole lines from the start."""
    if size_bytes <= 0:
        return ""
    head = text.encode()[:size_bytes]
    return head[: head.rfind(b"\n") + 1].decode()


def _shares(files: Sequence[FileDiff], wanted: Sequence[int], room: int) -> list[int]:
    """Share out the room: each file has what it wants, or as much as the others for its weight."""
    most = _capped(files, wanted, _MOST_BYTES)
    if sum(most) > room:
        most = _capped(files, wanted, _MOST_BYTES_WHEN_CUT)
    # by how much room a weight of one must have for the file to be whole: those that need least are served first
    order = sorted(range(len(files)), key=lambda index: most[index] / _WEIGHT[files[index].relevance])
    weight_left = sum(_WEIGHT[file.relevance] for file in files)
    shares = [0] * len(files)
    for index in order:
        weight = _WEIGHT[files[index].relevance]
        shares[index] = min(most[index], room * weight // weight_left)
        room -= shares[index]
        weight_left -= weight
    return shares


def _capped(files: Sequence[FileDiff], wanted: Sequence[int], caps: Mapping[Relevance, int]) -> list[int]:
    return [min(want, caps.get(file.relevance, want)) for file, want in zip(files, wanted, strict=True)]


def _listing(files: Sequence[FileDiff], limit_bytes: int) -> tuple[str, bool]:
    """List the files; the least relevant are counted by folder when there is no room for all."""
    lines = [f"{file.status} {file.name}, {file.facts}" for file in files]
    head = f"{count_of(len(files), 'file')} changed:\n"
    sizes = [_size(line) + 1 for line in lines]
    if _size(head) + sum(sizes) <= limit_bytes:
        return head + "\n".join(lines) + "\n", False
    room = limit_bytes - _size(head) - limit_bytes // 4
    count = 0
    while count < len(lines) and sizes[count] <= room:
        room -= sizes[count]
        count += 1
    folders = Counter(_folder(file.name) for file in files[count:])
    room += limit_bytes // 4
    folded: list[str] = []
    for folder, number in folders.most_common():
        line = f"and in {folder}: {count_of(number, 'file')} more"
        room -= _size(line) + 1
        if room < _MARK_BYTES:
            left = sum(folders.values()) - sum(known for _, known in folders.most_common(len(folded)))
            folded.append(f"and elsewhere: {count_of(left, 'file')} more")
            break
        folded.append(line)
    return head + "\n".join([*lines[:count], *folded]) + "\n", True


def _folder(name: str) -> str:
    return f"{name.partition('/')[0]}/" if "/" in name else "the top folder"


def _with_short_lines(patch: str) -> str:
    if len(patch) <= _LINE_CHARACTERS or max(map(len, patch.split("\n"))) <= _LINE_CHARACTERS:
        return patch
    return "\n".join(_short(line) for line in patch.split("\n"))


def _short(line: str) -> str:
    if len(line) <= _LINE_CHARACTERS:
        return line
    left_out = len(line) - _LINE_HEAD - _LINE_TAIL
    return f"{line[:_LINE_HEAD]}[... {left_out:,} characters of this line left out ...]{line[-_LINE_TAIL:]}"


def _size(text: str) -> int:
    return len(text.encode())
