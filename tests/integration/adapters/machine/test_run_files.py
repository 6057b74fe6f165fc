import json
import tempfile
from pathlib import Path

import pytest

from codexteam.adapters.machine.run_files import DiskRunFiles
from codexteam.adapters.store.journal import EventsFile, read_events
from codexteam.errors import StoreError
from codexteam.ports.reporter import RunEvent


@pytest.fixture
def files(tmp_path: Path) -> DiskRunFiles:
    root = tmp_path / "work"
    root.mkdir()
    return DiskRunFiles(
        tmp_path / "state", "run1", plan_root=root, redact=lambda text: text.replace("sk-secret", "[key]")
    )


def test_files_are_replaced_whole_private_and_redacted(files: DiskRunFiles) -> None:
    files.write("notes/a.md", "old")
    path = files.write("notes/a.md", "the key is sk-secret \udce4")

    assert path.read_text() == "the key is [key] \\udce4"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["a.md"]
    assert files.attempt_folder("T1", 2) == files.folder / "tasks" / "T1" / "2"


def test_plan_md_keeps_the_mode_that_its_user_gave_it(files: DiskRunFiles, tmp_path: Path) -> None:
    assert files.read_plan() is None
    files.write_plan("# Plan\n")
    plan = tmp_path / "work" / "plan.md"
    plan.chmod(0o664)
    files.write_plan("# Plan 2\n")

    assert files.read_plan() == "# Plan 2\n"
    assert plan.stat().st_mode & 0o777 == 0o664
    before = plan.stat().st_ino
    files.write_plan("# Plan 2\n")
    assert plan.stat().st_ino == before, "what is the same is not written again"


def test_a_linked_plan_md_is_not_written_through(files: DiskRunFiles, tmp_path: Path) -> None:
    target = tmp_path / "elsewhere.md"
    target.write_text("mine")
    (tmp_path / "work" / "plan.md").symlink_to(target)

    files.write_plan("# Plan\n")

    assert target.read_text() == "mine"


def test_what_cannot_be_read_or_written_is_one_clear_error(files: DiskRunFiles, tmp_path: Path) -> None:
    plan = tmp_path / "work" / "plan.md"
    plan.write_bytes(b"# Pl\xffan")
    with pytest.raises(StoreError, match="byte 4 is not UTF-8"):
        files.read_plan()
    plan.unlink()
    plan.mkdir()
    with pytest.raises(StoreError, match="Is a directory"):
        files.read_plan()
    with pytest.raises(StoreError):
        files.write_plan("x")
    assert [entry.name for entry in plan.parent.iterdir()] == ["plan.md"]


def test_events_are_numbered_over_sittings_and_a_cut_line_is_mended(tmp_path: Path) -> None:
    path = tmp_path / "runs" / "events.jsonl"
    facts = [
        RunEvent("run.started", 1_795_000_000.25, {"goal": "g\u202e", "kind": "not this"}, 1),
        RunEvent("task.merged", 1_795_000_001.0, {"task": "T1"}, 2),
        RunEvent("run.finished", 1_795_000_002.0, {}, 3),
    ]
    first = EventsFile(path, "run1", newest=2)
    first.write(facts[:1])
    first.write(facts[:2])
    first.close()
    with path.open("ab") as out:
        out.write(b'{"schema":1,"sequ')

    again = EventsFile(path, "run1", newest=3)
    assert again.last == 2
    again.write(facts)
    again.close()

    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(line["sequence"], line["kind"]) for line in lines] == [
        (1, "run.started"),
        (2, "task.merged"),
        (3, "run.finished"),
    ]
    assert lines[0]["at"] == "2026-11-18T11:06:40.250Z"
    assert lines[0]["run"] == "run1"
    assert "\u202e" not in path.read_text()


def test_a_line_whose_fact_a_power_failure_took_is_taken_off_again(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    first = EventsFile(path, "run1", newest=3)
    first.write([RunEvent(kind, 1.0, {}, number) for number, kind in enumerate(("one", "two", "lost"), start=1)])
    first.close()
    again = EventsFile(path, "run1", newest=2)
    again.write([RunEvent("other", 2.0, {}, 3)])
    again.close()
    assert [(event.sequence, event.kind) for event in read_events(path)] == [(1, "one"), (2, "two"), (3, "other")]


def test_what_a_killed_sitting_left_beside_plan_md_is_removed(tmp_path: Path) -> None:
    left = tmp_path / ".plan.md.codexteam-new"
    left.write_text("half")

    DiskRunFiles(tmp_path / "state", "r", plan_root=tmp_path, redact=str)

    assert not left.exists()


def test_plan_md_is_written_though_its_new_file_cannot_be_found(files: DiskRunFiles, tmp_path: Path) -> None:
    new = files.folder / ".plan.md.codexteam-new"
    new.symlink_to("gone/while it is written")
    files.write_plan("# Plan\n")
    assert files.read_plan() == "# Plan\n"
    assert not new.is_symlink()


def test_nothing_is_written_beside_plan_md(files: DiskRunFiles, tmp_path: Path) -> None:
    (tmp_path / "work" / ".plan.md.codexteam-new").mkdir()  # where nothing can be written
    files.write_plan("# Plan\n")
    files.write_plan("# Another\n")
    assert files.read_plan() == "# Another\n"
    assert files.folder.is_dir()
    assert [*files.folder.iterdir()] == []


def test_plan_md_is_written_on_another_file_system_than_the_states(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as other:
        if Path(other).stat().st_dev == tmp_path.stat().st_dev:
            pytest.skip("/dev/shm and the temporary folder are one file system")
        files = DiskRunFiles(tmp_path / "state", "r", plan_root=Path(other), redact=str)
        files.write_plan("# Plan\n")
        files.write_plan("# Another\n")
        assert files.read_plan() == "# Another\n"
        assert [path.name for path in Path(other).iterdir()] == ["plan.md"]
    assert [path.name for path in files.folder.iterdir()] == []
