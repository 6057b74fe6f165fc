"""What judges read of a change, made by real git."""

from pathlib import Path

from tests.support_git import Desk, make_user, open_desk


async def _diff(desk: Desk, edits: dict[bytes, bytes | None], *, limit: int = 120_000) -> tuple[str, bool]:
    new = await desk.taken(edits)
    return await desk.repo.diff_text(desk.base, new, limit_bytes=limit)


async def test_images_and_fonts_are_named_and_code_behind_them_is_kept(desk: Desk) -> None:
    noise = bytes(range(256)) * 4000
    text, cut = await _diff(
        desk, {b"a.png": b"\x89PNG\r\n\x1a\n" + noise, b"b.woff2": b"wOF2" + noise, b"z.py": b"token = 1\n"}
    )
    assert not cut
    assert f"A a.png, Binary file ({len(noise) + 8:,} bytes, PNG image)\n" in text
    assert f"A b.woff2, Binary file ({len(noise) + 4:,} bytes, WOFF2 font)\n" in text
    assert "+token = 1\n" in text
    assert len(text) < 1000


async def test_one_zero_byte_hides_no_code(desk: Desk) -> None:
    text, _ = await _diff(desk, {b"z.sh": b"#!/bin/sh\nsteal --all # a comment that is long enough\n\0\n"})
    assert "+steal --all" in text
    assert "+\\x00\n" in text


async def test_a_large_generated_file_leaves_room_for_the_code_behind_it(desk: Desk) -> None:
    rows = b"[\n" + b"".join(b' {"id": %d},\n' % n for n in range(40_000)) + b"]\n"
    text, cut = await _diff(desk, {b"fixtures/data.json": rows, b"src/auth.py": b"token = 1\n"})
    assert cut
    assert "A src/auth.py, +1 -0, 10 bytes\n" in text
    assert f"A fixtures/data.json, +40,002 -0, {len(rows):,} bytes\n" in text
    assert "+token = 1\n" in text
    assert "bytes of this file's diff are shown]" in text
    assert len(text.encode()) < 20_000


async def test_a_moved_file_is_named_once(desk: Desk) -> None:
    text, cut = await _diff(desk, {b"folder/b.txt": None, b"moved/b.txt": b"three\n"})
    assert not cut
    assert text == "1 file changed:\nR folder/b.txt -> moved/b.txt, 6 bytes, the same content\n"


async def test_a_file_too_large_to_compare_is_listed_as_left_out(tmp_path: Path) -> None:
    make_user(tmp_path / "user", {"a.py": b"x = 1\n", "huge.txt": b"line\n" * (4 << 20)})
    desk = await open_desk(tmp_path / "user", tmp_path)
    text, cut = await _diff(desk, {b"huge.txt": None, b"a.py": b"x = 2\n"})
    await desk.repo.close()
    assert cut
    assert "D huge.txt, removed, too large to be compared here\n" in text
    assert "+x = 2\n" in text
