"""Which environment commands and agents work in where a run has several repositories."""

from pathlib import Path

from codexteam.core.effects import CheckBase
from codexteam.core.state import Rules, RunState
from codexteam.run.gates.base_commit import check_base
from codexteam.run.gates.ci import baseline, gate_commands
from codexteam.run.gates.results import outcomes_on
from tests.fakes.fake_sandbox import ended
from tests.unit.run.environment.set_up_world import NOT_FOUND, PASSED, RUN, SetUpWorld

FILES = {
    "api/requirements.txt": b"requests\n",
    "api/tests/test_x.py": b"def test_x(): pass\n",
    "web/requirements.txt": b"requests<2\n",
    "web/tests/test_y.py": b"def test_y(): pass\n",
}
WITH_NODE = {
    "shop/package.json": b'{"name": "shop", "scripts": {"test": "node --test"}}',
    "shop/package-lock.json": b'{"lockfileVersion": 3, "packages": {}}',
    "shop/tests/x.test.js": b"",
}
API, WEB = "cd api && python -m pytest", "cd web && python -m pytest"
SYSTEM = "make -C web contract-test"
FAILED = ended(1, "E: versions exclude each other\n")


async def test_each_repository_has_an_environment_of_its_own_for_its_gates(tmp_path: Path) -> None:
    world = SetUpWorld(tmp_path, FILES)
    environments = await world.begin_several("api", "web")

    assert await gate_commands(environments.context) == (API, WEB)
    await outcomes_on(environments.context, await world.commit(api__a_dot_py=b"1"), [API, WEB], name="ci.1")

    keys = {name: (await one.base()).key for name, one in environments.each.items()}
    assert keys["api"] != keys["web"]
    used = [sandbox.spec.environment_key for sandbox in world.engine.started]
    assert sorted(used[:2]) == sorted(keys.values())
    assert used[2:] == [keys["api"], keys["web"]]
    assert {fields["repository"] for kind, fields in world.told if kind == "environment.chosen"} == {"api", "web"}
    assert not environments.of_all.begun, "nothing works on all of them"


async def test_an_agent_is_in_the_environment_of_the_repository_it_writes_in(tmp_path: Path) -> None:
    world = SetUpWorld(tmp_path, FILES)
    environments = await world.begin_several("api", "web")
    base = environments.context.base

    web = await environments.key_for_agent(base, ["web/lib/", "web/tests/"])

    assert web == (await environments.each["web"].base()).key
    of_all = await environments.key_for_agent(base)
    assert of_all == (await environments.of_all.base()).key
    assert len({web, of_all}) == 2


async def test_a_changed_manifest_makes_an_environment_for_its_repository_alone(tmp_path: Path) -> None:
    world = SetUpWorld(tmp_path, FILES)
    environments = await world.begin_several("api", "web")
    commit = await world.commit(web__requirements_dot_txt=b"requests>2\n")

    [api, web] = await environments.places(commit, [API, WEB])

    assert api.key == (await environments.each["api"].base()).key
    assert web.key != (await environments.each["web"].base()).key
    assert len(world.set_ups) == 3


async def test_a_repository_whose_set_up_fails_leaves_the_others_theirs(tmp_path: Path) -> None:
    world = SetUpWorld(
        tmp_path,
        {**FILES, **WITH_NODE},
        on_step=lambda script: FAILED if "npm ci" in script else ended(),
        on_gate=lambda _line, sandbox: PASSED if sandbox.spec.environment_key else NOT_FOUND,
    )
    environments = await world.begin_several("api", "shop")

    checked = await check_base(
        environments.context, CheckBase(1, environments.context.base, (), gates=True), RunState(RUN, "g", Rules())
    )

    assert [(check.command, check.ending.value) for check in checked.checks] == [
        (API, "passed"),
        ("cd shop && npm test", "cannot_run"),
    ]
    assert "; shop: " in checked.made_from


async def test_what_works_on_all_of_them_has_one_environment_for_all(tmp_path: Path) -> None:
    world = SetUpWorld(tmp_path, FILES)
    environments = await world.begin_several("api", "web", system=(SYSTEM,))
    base = environments.context.base

    [over_all] = await environments.places(base, [SYSTEM])
    await baseline(environments.context, base, [SYSTEM, API])

    assert over_all.key == (await environments.of_all.base()).key
    assert {sandbox.spec.environment_key for sandbox in world.engine.started} == {
        over_all.key,
        (await environments.each["api"].base()).key,
    }


async def test_without_one_for_all_who_judges_all_is_in_the_first_one(tmp_path: Path) -> None:
    world = SetUpWorld(tmp_path, FILES)
    environments = await world.begin_several("api", "web")
    await environments.base()
    world.on_step = lambda _script: FAILED
    base = environments.context.base

    keys = [await environments.key_for_agent(base) for _ in range(2)]

    assert keys == [(await environments.each["api"].base()).key] * 2
    assert [fields["text"] for kind, fields in world.told if kind == "notice" and "judge all" in str(fields["text"])]


async def test_no_agent_is_asked_where_the_user_wants_no_command(tmp_path: Path) -> None:
    world = SetUpWorld(tmp_path, FILES, gates=(API,))
    environments = await world.begin_several("api", "web")

    await check_base(
        environments.context, CheckBase(1, environments.context.base, (), gates=True), RunState(RUN, "g", Rules())
    )

    assert not [fields for kind, fields in world.told if kind == "notice" and "set-up" in str(fields["text"])]
