"""Hooks as real commands: what they are given, what is kept of them, and when they are ended."""

import asyncio
import json
import os
import time
from pathlib import Path

from codexteam.adapters.machine.hook_commands import HookCommands
from codexteam.config.hooks import HookCommand, HookEvent, HookGroup, HookSettings
from codexteam.ports.hooks import HookOutcome
from tests.support_processes import is_alive


async def run(folder: Path, *lines: str, timeout: float = 20.0) -> tuple[HookOutcome, ...]:
    group = HookGroup(tuple(HookCommand(line, timeout=timeout) for line in lines))
    hooks = HookCommands(HookSettings(PreMerge=(group,)), folder, {"PATH": os.environ["PATH"]}, {"run_id": "r"})
    return await hooks.run(HookEvent.PRE_MERGE, {"task": "T1"})


async def test_a_hook_gets_its_event_as_json_in_the_repository(tmp_path: Path) -> None:
    [outcome] = await run(tmp_path, "cat; pwd >&2")
    assert json.loads(outcome.stdout) == {"hook_event_name": "PreMerge", "run_id": "r", "task": "T1"}
    assert (outcome.exit_code, outcome.stderr.strip(), outcome.problem) == (0, str(tmp_path), "")


async def test_hooks_run_in_order_and_need_not_read(tmp_path: Path) -> None:
    outcomes = await run(tmp_path, "echo one; exit 3", "exec <&-; echo two")
    assert [(each.exit_code, each.stdout) for each in outcomes] == [(3, "one\n"), (0, "two\n")]


async def test_a_hook_out_of_time_is_ended_with_what_it_started(tmp_path: Path) -> None:
    began = time.monotonic()
    [outcome] = await run(tmp_path, "sleep 60 & echo $! > child; wait", timeout=0.5)
    assert time.monotonic() - began < 20
    assert outcome.problem == "it did not end within 0.5 s"
    child = int((tmp_path / "child").read_text())
    deadline = time.monotonic() + 20
    while is_alive(child):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


async def test_what_a_hook_leaves_behind_holds_nobody_up(tmp_path: Path) -> None:
    [outcome] = await run(tmp_path, "sleep 60 >/dev/null 2>&1 & echo $! > child; echo done")
    assert (outcome.exit_code, outcome.stdout) == (0, "done\n")


async def test_endless_output_is_read_and_not_kept(tmp_path: Path) -> None:
    [outcome] = await run(tmp_path, "head -c 3000000 /dev/zero | tr '\\0' x; echo end >&2")
    assert len(outcome.stdout) == 16_384
    assert outcome.stderr == "end\n"


async def test_a_folder_that_is_gone_is_a_problem(tmp_path: Path) -> None:
    [outcome] = await run(tmp_path / "gone", "true")
    assert outcome.problem.startswith("it cannot be started")
