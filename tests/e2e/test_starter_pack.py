"""A run with the Codex home that users of its multi-agent mode have, unchanged: it ends green."""

import shutil
from pathlib import Path

import pytest

from codexteam.core.ids import JSONObject
from tests.e2e import one_task
from tests.e2e.conftest import MakeWorld
from tests.e2e.one_task import GOAL, expected
from tests.e2e.world import KEY_NAME, World, tree_of
from tests.scripted_api.script import Call, Played, message

pytestmark = [pytest.mark.complete, pytest.mark.bubblewrap, pytest.mark.timeout(300)]

PACK = Path(__file__).parents[1] / "data" / "starter_pack"


def play(call: Call) -> Played:
    """Answer one call; the reviewer has nothing to find."""
    if call.purpose == "review":
        return [message({"verdict": "ship", "summary": "It does what the goal asks for.", "findings": [], "risks": []})]
    return one_task.play(call)


def use_pack(world: World, base_url: str) -> None:
    """Give the user the pack as their Codex home, and what reaches the model in a file that Codex does not read."""
    home = world.home / ".codex"
    shutil.copytree(PACK, home, dirs_exist_ok=True)
    (home / "codexteam.config.toml").write_text(
        f'model_provider = "loopback"\n[model_providers.loopback]\nname = "Loopback"\nbase_url = "{base_url}"\n'
        f'env_key = "{KEY_NAME}"\n[codexteam.sandbox]\nkind = "bubblewrap"\n[codexteam.steps]\ndocumentation = "always"\n'
    )


def receipts(world: World) -> dict[str, JSONObject]:
    """Give one receipt of each role that was at work."""
    found = {}
    for event in world.events():
        if event["kind"] == "agent.received":
            receipt = event["receipt"]
            assert isinstance(receipt, dict)
            found[str(event["role"])] = receipt
    return found


def test_a_run_with_the_starter_pack_ends_green(make: MakeWorld) -> None:
    world, api = make(script=play)
    use_pack(world, api.base_url)

    ended = world.run("run", GOAL)

    assert ended.code == 0, ended.out + ended.err
    assert world.git("rev-parse", f"{world.branch}^{{tree}}").strip() == tree_of(world, expected())
    said = ended.out + ended.err
    file = str(world.home / ".codex" / "agents" / "security_reviewer.toml")
    assert said.count(f"{file}: the role file has no `name`") == 1, said
    assert said.count("danger-full-access for") == 1, said
    found = receipts(world)
    assert {"orchestrator", "implementer", "reviewer", "qa_test_author"} <= set(found)
    for name in found.keys() - {"requirement_analyst", "documentation", "security_reviewer"}:
        own = str(world.home / ".codex" / "agents" / f"{name}.toml")
        assert found[name]["sandbox"] == {"value": "danger-full-access", "origin": f"{own}:4:16"}
    started = found["implementer"]["started_sandbox"]
    assert isinstance(started, dict)
    network = started["network"]
    assert isinstance(network, dict)
    assert (started["mode"], network["kind"]) == ("danger-full-access", "open")
