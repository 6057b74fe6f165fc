"""The ten role files that ship."""

import tomllib
from pathlib import Path

import pytest

from codexteam.config.locations import BUNDLED_ROLES, bundled_role_file

#: The keys that a Codex role file may have and that these use; one that Codex does not know would drop the role.
KEYS = {"name", "description", "model", "model_reasoning_effort", "sandbox_mode", "developer_instructions"}
EFFORTS = {
    "orchestrator": "xhigh",
    "reviewer": "xhigh",
    "security_reviewer": "high",
    "qa_test_author": "high",
    "implementer": "medium",
    "release_manager": "medium",
    "documentation": "medium",
    "requirement_analyst": "medium",
    "explorer": "low",
    "ci_runner": "low",
}
WRITE = {"implementer", "qa_test_author", "documentation"}

#: What is fixed in a request may be 6 KB; the base text and the tools' definitions need most of it.
INSTRUCTIONS_LIMIT_BYTES = 1900


def role(name: str) -> dict[str, str]:
    found: dict[str, str] = tomllib.loads(bundled_role_file(name).read_text(encoding="utf-8"))
    return found


def test_the_folder_holds_the_ten_roles_and_nothing_else() -> None:
    assert sorted(path.stem for path in Path("agents").iterdir()) == sorted(BUNDLED_ROLES)


@pytest.mark.parametrize("name", BUNDLED_ROLES)
def test_a_role_file_has_the_keys_that_codex_knows_and_its_own_name(name: str) -> None:
    found = role(name)

    assert set(found) == KEYS
    assert found["name"] == name
    assert found["model"] == "gpt-5.4"
    assert len(found["description"]) <= 140


@pytest.mark.parametrize("name", BUNDLED_ROLES)
def test_instructions_leave_room_for_the_tools_in_a_request(name: str) -> None:
    assert len(role(name)["developer_instructions"].encode()) <= INSTRUCTIONS_LIMIT_BYTES


@pytest.mark.parametrize("name", BUNDLED_ROLES)
def test_a_role_leaves_the_protocol_to_the_base_text(name: str) -> None:
    text = role(name)["developer_instructions"]

    assert [
        word for word in ("<data>", "codexteam", "Rules that nothing overrides", "Answer with") if word in text
    ] == []


def test_deciding_takes_most_effort_and_reading_least() -> None:
    assert {name: role(name)["model_reasoning_effort"] for name in BUNDLED_ROLES} == EFFORTS


def test_only_those_who_leave_files_may_write() -> None:
    writing = {name for name in BUNDLED_ROLES if role(name)["sandbox_mode"] == "workspace-write"}

    assert writing == WRITE
    assert {role(name)["sandbox_mode"] for name in BUNDLED_ROLES} == {"workspace-write", "read-only"}
