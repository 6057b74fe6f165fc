"""The forms in which models send a patch or a command, other than the tools' own."""

import json
from pathlib import Path

import pytest

from codexteam.agent.patch.invocation import invocation_in, patch_in
from codexteam.core.ids import JSONObject
from tests.fakes.fake_sandbox import FakeEngine, ended
from tests.unit.agent.agent_world import REPORT, AgentWorld, function_call, outputs_in, playing, run_line, said

PATCH = "*** Begin Patch\n*** Update File: a.txt\n@@\n-one\n+$ONE `x`\n*** End Patch"
HEREDOC = f"apply_patch <<'EOF'\n{PATCH}\nEOF\n"


def _custom(text: str) -> JSONObject:
    return {"type": "custom_tool_call", "call_id": "c", "name": "apply_patch", "input": text}


def _local_shell(command: list[str], **more: str) -> JSONObject:
    action: JSONObject = {"type": "exec", "command": list(command), "env": {}, **more}
    return {"type": "local_shell_call", "id": "ls_1", "call_id": "c", "status": "completed", "action": action}


async def _answered(tmp_path: Path, item: JSONObject, *, freeform: bool = False) -> tuple[AgentWorld, JSONObject]:
    engine = FakeEngine(files={"a.txt": b"one\n", "sub/a.txt": b"one\n"}, otherwise=ended(0, "listed\n"))
    world = AgentWorld(tmp_path, playing([item], [said(REPORT)]), engine, freeform=freeform)
    await world.work()
    return world, world.asked[1].input[-1]


@pytest.mark.parametrize("freeform", [False, True])
@pytest.mark.parametrize(
    "item",
    [
        run_line(HEREDOC),
        run_line(HEREDOC.replace("apply_patch", "applypatch")),
        run_line(HEREDOC.replace("'EOF'", "EOF")),
        run_line(HEREDOC.replace("<<'EOF'", '<< "EOF"')),
        run_line(HEREDOC.replace("<<'EOF'", "<<-EOF")),
        run_line(f"cd . && {HEREDOC}"),
        run_line(f"cd /work && {HEREDOC}"),
        run_line(f"cd '/work/sub' && {HEREDOC.replace('a.txt', '../a.txt')}"),
        run_line(HEREDOC.replace("a.txt", "../a.txt"), workdir="sub"),
        function_call("shell", {"command": ["bash", "-lc", HEREDOC]}),
        function_call("shell", {"command": ["apply_patch", PATCH], "timeout_ms": 1000}),
        function_call("container.exec", {"cmd": ["/bin/sh", "-c", HEREDOC], "workdir": "/work"}),
        function_call("shell_command", {"command": HEREDOC}),
        function_call("exec_command", {"cmd": json.dumps(["bash", "-lc", HEREDOC])}),
        _local_shell(["bash", "-lc", HEREDOC]),
        function_call("apply_patch", {"input": PATCH}),
        function_call("apply_patch", {"patch": PATCH}),
        function_call("applypatch", {"input": PATCH}),
        function_call("functions.apply_patch", {"input": PATCH}),
        function_call("apply_patch<|channel|>commentary", {"input": PATCH}),
        function_call("apply_patch", PATCH),
        function_call("apply_patch", '{"input": "' + PATCH + '"}'),
        function_call("apply_patch", {"input": json.dumps({"patch": PATCH})}),
        function_call("apply_patch", {"command": ["apply_patch", PATCH]}),
        _custom(PATCH),
        _custom(json.dumps({"input": PATCH})),
        _custom(json.dumps(PATCH)),
        _custom(f"```diff\n{PATCH}\n```"),
        _custom(HEREDOC),
        _custom(PATCH.replace("\n", "\\n")),
        _custom(PATCH.replace("\n", "\r\n")),
    ],
)
async def test_a_patch_is_applied_in_whatever_form_it_comes(tmp_path: Path, item: JSONObject, freeform: bool) -> None:
    world, answer = await _answered(tmp_path, item, freeform=freeform)
    assert str(answer["output"]).startswith("Success. Updated the following files:\nM "), answer
    assert world.sandbox.files == {"a.txt": b"$ONE `x`\n", "sub/a.txt": b"one\n"}
    assert world.ran == []
    custom = item["type"] == "custom_tool_call"
    assert answer["type"] == ("custom_tool_call_output" if custom else "function_call_output")


async def test_a_patch_behind_cd_is_applied_in_that_folder(tmp_path: Path) -> None:
    world, _ = await _answered(tmp_path, run_line(f"cd sub && {HEREDOC}"))
    assert world.sandbox.files == {"a.txt": b"one\n", "sub/a.txt": b"$ONE `x`\n"}


@pytest.mark.parametrize(
    ("item", "argv"),
    [
        (function_call("shell", {"command": ["bash", "-lc", "ls"]}), ("bash", "-lc", "ls")),
        (function_call("shell", {"command": ["ls", "-a b"]}), ("ls", "-a b")),
        (function_call("shell_command", {"command": "ls"}), ("bash", "-lc", "ls")),
        (function_call("functions.exec_command", {"cmd": "ls"}), ("bash", "-lc", "ls")),
        (function_call("exec_command", {"command": "ls", "login": False}), ("bash", "-c", "ls")),
        (function_call("exec_command", {"cmd": ["ls"]}), ("ls",)),
        (function_call("container.exec", {"cmd": ["bash", "-lc", "ls"], "timeout": 5000}), ("bash", "-lc", "ls")),
        (_local_shell(["ls"], working_directory="sub"), ("ls",)),
    ],
)
async def test_a_command_runs_in_whatever_form_it_comes(
    tmp_path: Path, item: JSONObject, argv: tuple[str, ...]
) -> None:
    world, answer = await _answered(tmp_path, item)
    (command,) = world.sandbox.ran
    assert tuple(command.argv) == argv
    assert command.cwd == ("/work/sub" if item["type"] == "local_shell_call" else "/work")
    assert command.timeout_seconds == (5 if "5000" in str(item) else 600)
    assert str(answer["output"]).endswith("listed\n")


@pytest.mark.parametrize(
    ("patch", "right_form"),
    [
        ("--- a/a.txt\n+++ b/a.txt\n@@ -1 +1 @@\n-one\n+ONE\n", "`*** Update File: PATH`"),
        ("diff --git a/a.txt b/a.txt\n--- a/a.txt\n+++ b/a.txt\n", "`*** Begin Patch`"),
        (PATCH.replace("@@", "@@ -1,1 +1,1 @@"), "write `@@` alone"),
        (PATCH.replace("a.txt", "a/a.txt"), "no a/ or b/"),
        (PATCH.replace("a.txt", "/home/me/a.txt"), "relative to the workspace"),
        (PATCH.replace("Begin Patch", "Begin patch"), "must be '*** Begin Patch'"),
        (PATCH.removesuffix("\n*** End Patch"), "must be '*** End Patch'"),
        (PATCH.replace("Update File", "Modify File"), "'*** Update File: {path}'"),
    ],
)
async def test_a_near_miss_is_told_the_right_form(tmp_path: Path, patch: str, right_form: str) -> None:
    world, answer = await _answered(tmp_path, function_call("apply_patch", {"input": patch}))
    assert str(answer["output"]).startswith("Error: ")
    assert right_form in str(answer["output"])
    assert world.sandbox.files["a.txt"] == b"one\n"


async def test_a_patch_where_no_python_is_is_told_that_it_is_a_tool(tmp_path: Path) -> None:
    engine = FakeEngine(otherwise=ended(127, "bash: line 1: apply_patch: command not found\n"))
    world = AgentWorld(tmp_path, playing([run_line(f"ls; {HEREDOC}")], [said(REPORT)]), engine)
    await world.work()
    (output,) = outputs_in(world.asked[1])
    assert output.endswith("the whole command.\n")


@pytest.mark.parametrize(
    "script",
    [
        f"{HEREDOC}ls",
        f"ls; {HEREDOC}",
        f"cd a b && {HEREDOC}",
        f"cd $HOME && {HEREDOC}",
        f"cd sub || {HEREDOC}",
        HEREDOC.replace("<<'EOF'", "<<'END'"),
        "apply_patch",
        "cat <<'EOF'\nx\nEOF",
    ],
)
def test_a_script_that_is_more_than_a_patch_is_left_to_the_shell(script: str) -> None:
    assert invocation_in(("bash", "-lc", script)) is None


def test_text_without_a_patch_is_left_as_it_is() -> None:
    found = patch_in("nonsense")
    assert found is not None
    assert found.patch == "nonsense"
    assert patch_in('{"other": 1}') is None
    assert patch_in("[[[[") is not None
