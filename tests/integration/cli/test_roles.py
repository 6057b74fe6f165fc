"""`codexteam roles`: who is on the team, and what each would be started with."""

import hashlib
import json
import shutil
from pathlib import Path

from codexteam.config.locations import BUNDLED_ROLES, bundled_role_file
from tests.integration.cli.conftest import Cli


def test_the_shipped_roles_are_listed_in_the_order_of_a_run(cli: Cli) -> None:
    done = cli("roles")

    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[0].split() == ["ROLE", "MODEL", "EFFORT", "SANDBOX", "FROM"]
    assert [line.split()[0] for line in lines[1:11]] == list(BUNDLED_ROLES)
    assert lines[1].split() == ["orchestrator", "gpt-5.4", "xhigh", "read-only", "built-in"]
    assert max(map(len, lines)) <= 80


def test_the_pro_pack_fits_into_80_columns(cli: Cli) -> None:
    cli("init", "--tier", "pro")

    done = cli("roles")

    assert "gpt-5.3-codex-spark" in done.out
    assert max(map(len, done.out.splitlines())) <= 80
    assert all(line.endswith(" user") for line in done.out.splitlines()[1:11])


def test_a_user_s_role_replaces_the_shipped_one_and_new_ones_follow(cli: Cli, home: Path) -> None:
    folder = home / ".codex/agents"
    folder.mkdir(parents=True)
    for name in ("reviewer", "aaa_extra"):
        (folder / f"{name}.toml").write_text(
            f'name = "{name}"\ndescription = "Mine."\ndeveloper_instructions = "Do it my way."\nmodel = "my-model"\n'
        )

    done = cli("roles", "--json")

    records = [json.loads(line) for line in done.out.splitlines()]
    assert records[-1] == {"type": "roles.completed", "count": 11}
    by_name = {record["name"]: record for record in records[:-1]}
    assert list(by_name)[-1] == "aaa_extra"
    assert by_name["reviewer"]["model"] == "my-model"
    assert by_name["reviewer"]["source"] == str(folder / "reviewer.toml")


def test_a_receipt_has_the_hash_of_the_file_and_every_origin(cli: Cli, home: Path) -> None:
    cli("init")

    done = cli("roles", "implementer", "--json")

    found, end = (json.loads(line) for line in done.out.splitlines())
    assert end == {"type": "roles.completed", "count": 1}
    path = home / ".codex/agents/implementer.toml"
    assert found["role_file"] == {"path": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    assert found["model"]["value"] == "gpt-5.4"
    # its file names no model: the tier does, in the one place where it is changed
    assert found["model"]["origin"].startswith(f"{home / '.codex/codexteam.config.toml'}:")
    assert found["sandbox"]["value"] == "workspace-write"
    assert {"name", "origin"} == set(found["tools"][0])


def test_a_role_never_gets_more_than_the_run_allows(cli: Cli) -> None:
    done = cli("-c", 'sandbox_mode="read-only"', "roles", "implementer", "--json")

    assert json.loads(done.out.splitlines()[0])["sandbox"]["value"] == "read-only"


def test_a_receipt_is_readable_in_80_columns(cli: Cli, home: Path) -> None:
    cli("init", "--tier", "api")

    done = cli("-c", 'model_verbosity="low"', "roles", "reviewer")

    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0] == "reviewer"
    path = home / ".codex/agents/reviewer.toml"
    assert f"  sha256      {hashlib.sha256(path.read_bytes()).hexdigest()}" in lines
    rows = {line[:14].strip(): line[14:].split() for line in lines if line}
    tiers = (home / ".codex/codexteam.config.toml").read_text().splitlines()
    [line] = [number for number, text in enumerate(tiers, 1) if text.startswith("deep = ")]
    assert rows["model"] == ["gpt-5.4", f"[2]:{line}"]
    assert rows["provider"][0] == "openai-api"
    assert rows["verbosity"] == ["low", "-c", "model_verbosity"]
    assert "[1] ~/.codex/agents/reviewer.toml" in lines
    assert "[2] ~/.codex/codexteam.config.toml" in lines


def test_the_receipt_of_a_shipped_role_has_the_shipped_file_s_hash(cli: Cli) -> None:
    done = cli("roles", "reviewer")

    assert hashlib.sha256(bundled_role_file("reviewer").read_bytes()).hexdigest() in done.out
    assert max(map(len, done.out.splitlines())) <= 80


def test_an_unknown_role_is_exit_2_with_a_guess(cli: Cli) -> None:
    done = cli("roles", "reviwer")

    assert (done.code, done.out) == (2, "")
    assert "there is no role 'reviwer'" in done.err
    assert "hint: did you mean reviewer?" in done.err


def test_all_tiers_load_strictly(cli: Cli, home: Path) -> None:
    for tier in ("pro", "plus", "api"):
        assert cli("init", "--tier", tier, "--force").code == 0
        done = cli("--strict-config", "roles")
        assert (done.code, done.err) == (0, ""), tier


def test_what_a_cap_takes_from_roles_is_listed_once_in_80_columns(cli: Cli, home: Path) -> None:
    shutil.copytree(Path(__file__).parents[2] / "data" / "starter_pack", home / ".codex")
    config = home / ".codex" / "config.toml"
    config.write_text(f'sandbox_mode = "workspace-write"\n{config.read_text()}')

    done = cli("roles")

    lines = done.out.splitlines()
    assert done.code == 0
    assert max(map(len, lines)) <= 80
    start = lines.index("sandbox_mode: workspace-write is used, not danger-full-access")
    assert lines[start + 1].split() == ["capped", "at", "~/.codex/config.toml:1:16"]
    assert lines[start + 2].split() == ["orchestrator", "~/.codex/agents/orchestrator.toml:4:16"]
    assert done.err.count("security_reviewer.toml: the role file has no `name`") == 1
    checked = cli("config", "check")
    assert checked.code == 0
    assert checked.out.count("security_reviewer.toml: the role file has no `name`") == 1
    assert checked.out.count("`workspace-write` is used and not `danger-full-access`") == 1
    assert max(map(len, cli("roles", "implementer").out.splitlines())) <= 80
