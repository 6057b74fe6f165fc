"""How a repository is shared out among scouts."""

from codexteam.run.scout_areas import areas_of


def test_a_large_repository_is_shared_out_by_size_and_by_goal() -> None:
    paths = [b"src/core/file%d.py" % number for number in range(900)]
    paths += [b"src/billing/invoice_%d.py" % number for number in range(300)]
    paths += [b"docs/page%d.md" % number for number in range(50)]

    first, *others = [area.words for area in areas_of(paths, len(paths), 3, "Round the total of an invoice")]
    assert first.startswith("how the repository is built")
    assert others == [
        "the code in src/billing, docs: purpose and main symbols of each file (`files` in your answer)",
        "the code in src/core: purpose and main symbols of each file (`files` in your answer)",
    ]


def test_folders_are_named_up_to_a_dozen() -> None:
    paths = [b"part%02d/file%d.py" % (number // 5, number) for number in range(100)]

    assert areas_of(paths, len(paths), 2, "Speed it up")[1].words.startswith("the code in part00, part01, ")
    assert ", part11, and 8 folders more: purpose" in areas_of(paths, len(paths), 2, "Speed it up")[1].words


def test_a_small_repository_takes_two_and_a_known_one_only_the_first() -> None:
    [_, code] = areas_of([b"a.py", b"b/c.py"], 2, 3, "Speed it up")
    assert set(code.files) == {b"a.py", b"b/c.py"}
    assert len(areas_of([b"a.py", b"b/c.py"], 2, 3, "Speed it up", everywhere=True)) == 3
    assert len(areas_of([], 2_000, 3, "Speed it up")) == 1
    assert len(areas_of([b"a.py"], 2_000, 1, "Speed it up")) == 1


def test_a_few_files_are_named_and_what_is_known_is_left_out() -> None:
    [area] = areas_of([b"src/a.py"], 2_000, 3, "Speed it up", knows_build=True)
    assert area.words.startswith("the code in src/a.py: purpose")
    assert area.files == (b"src/a.py",)
    assert areas_of([], 2_000, 3, "Speed it up", knows_build=True) == []
    assert (
        areas_of([b"src/a.py"], 2_000, 1, "Speed it up", knows_build=True) == []
    )  # the only one reads how it is built
