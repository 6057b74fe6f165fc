"""A patch in a workspace: all of it or nothing."""

import pytest

from codexteam.agent.patch import PatchRefused, apply_patch


class _Files:
    """A workspace in memory that refuses to write what it is told to refuse."""

    def __init__(self, files: dict[str, bytes], *, unwritable: str = "", folders: tuple[str, ...] = ()) -> None:
        self.files = files
        self.writes: list[str] = []
        self._unwritable = unwritable
        self._folders = folders

    async def read_file(self, path: str, *, limit_bytes: int) -> bytes | None:
        if path in self._folders:
            raise ValueError(f"{path} is a folder")
        return self.files.get(path)

    async def write_file(self, path: str, data: bytes | None, *, executable: bool | None = None) -> None:
        if path == self._unwritable:
            raise PermissionError("the sandbox is read-only")
        self.writes.append(path)
        if data is None:
            self.files.pop(path, None)
        else:
            self.files[path] = data


def _patch(*lines: str) -> str:
    return "\n".join(["*** Begin Patch", *lines, "*** End Patch"])


async def test_a_patch_that_fits_is_written_and_told() -> None:
    files = _Files({"a.txt": b"one\ntwo\n", "old.txt": b"x\n"})
    text = await apply_patch(
        _patch("*** Update File: a.txt", "@@", "-one", "+1", "*** Add File: b.txt", "+b", "*** Delete File: old.txt"),
        files,
    )
    assert text == "Success. Updated the following files:\nA b.txt\nM a.txt\nD old.txt\n"
    assert files.files == {"a.txt": b"1\ntwo\n", "b.txt": b"b\n"}


async def test_a_patch_that_does_not_fit_writes_nothing_of_it() -> None:
    files = _Files({"a.txt": b"one\n"})
    with pytest.raises(PatchRefused, match="Failed to find expected lines in /work/a.txt:\nnope"):
        await apply_patch(_patch("*** Add File: b.txt", "+b", "*** Update File: a.txt", "@@", "-nope", "+1"), files)
    assert files.files == {"a.txt": b"one\n"}
    assert files.writes == []


async def test_a_write_that_fails_is_undone_with_those_before_it() -> None:
    files = _Files({"a.txt": b"one\n"}, unwritable="b.txt")
    with pytest.raises(PatchRefused, match="read-only. No file was changed"):
        await apply_patch(_patch("*** Update File: a.txt", "@@", "-one", "+1", "*** Add File: b.txt", "+b"), files)
    assert files.files == {"a.txt": b"one\n"}


async def test_each_path_is_written_once_with_its_last_state() -> None:
    files = _Files({"a.txt": b"one\n"})
    chunk = ("@@", "-one", "+two")
    await apply_patch(
        _patch(
            "*** Update File: a.txt", *chunk, "*** Update File: a.txt", "@@", "-two", "+three", "*** Add File: n"
        ).replace("*** Add File: n", "*** Add File: n\n+x\n*** Delete File: n"),
        files,
    )
    assert files.files == {"a.txt": b"three\n"}
    assert files.writes == ["a.txt"]


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "/work/../x"])
async def test_a_path_out_of_the_workspace_is_refused_before_anything_is_read(path: str) -> None:
    files = _Files({})
    with pytest.raises(PatchRefused, match="outside the workspace /work"):
        await apply_patch(_patch(f"*** Add File: {path}", "+x"), files)
    assert files.writes == []


async def test_an_absolute_path_in_the_workspace_is_taken() -> None:
    files = _Files({})
    await apply_patch(_patch("*** Add File: /work/x", "+x"), files)
    assert files.files == {"x": b"x\n"}


async def test_a_folder_is_no_file_to_change() -> None:
    files = _Files({}, folders=("d",))
    with pytest.raises(PatchRefused, match="Failed to read file to update /work/d: d is a folder"):
        await apply_patch(_patch("*** Update File: d", "@@", "-x"), files)


async def test_text_that_is_no_patch_is_told_what_a_patch_is() -> None:
    with pytest.raises(PatchRefused, match=r"The first line of the patch must be '\*\*\* Begin Patch'"):
        await apply_patch("hello", _Files({}))
