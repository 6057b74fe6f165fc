"""`codexteam cluster` over hosts that are not there, and who works on one that is."""

import json
import os
from pathlib import Path

import pytest

from codexteam.adapters.sandbox.docker.client import EngineClient
from codexteam.adapters.sandbox.docker.occupancy import look_at_engine
from codexteam.config.settings import EngineSettings
from tests.integration.adapters.sandbox.docker.support import rig
from tests.integration.views.conftest import Cli, Project

HOSTS = """
[codexteam.sandbox]
kind = "docker"
[[codexteam.sandbox.engines]]
name = "builder"
host = "tcp://127.0.0.1:9"
weight = 16
[[codexteam.sandbox.engines]]
name = "old"
host = "tcp://127.0.0.1:9"
draining = true
"""


@pytest.fixture
def hosts(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Two of which none answers."""
    home = Path(os.environ["HOME"]) / ".codex"
    home.mkdir()
    (home / "codexteam.config.toml").write_text(HOSTS)
    monkeypatch.delenv("CODEX_HOME", raising=False)
    return project


@pytest.mark.usefixtures("hosts")
def test_hosts_are_shown_with_what_is_wrong_and_what_to_do(cli: Cli) -> None:
    done = cli("cluster")
    assert done.code == 6, "none takes agents"
    lines = done.out.splitlines()
    assert [line.split() for line in lines[:3]] == [
        ["host", "state", "slots", "weight", "engine", "runtimes"],
        ["builder", "down", "-/8", "16", "-", "-"],
        ["old", "down", "-/8", "8", "-", "-"],
    ]
    assert (
        "builder: no Docker engine answers (builder): the engine at tcp://127.0.0.1:9: Connection refused" in done.out
    )
    assert "-> start the engine" in done.out
    assert max(map(len, lines[:3])) <= 80


@pytest.mark.usefixtures("hosts")
def test_json_has_a_line_for_each_host_and_a_last_one(cli: Cli) -> None:
    assert cli("cluster", "drain", "builder").code == 0
    *found, last = map(json.loads, cli("cluster", "--json").out.splitlines())
    assert [(host["name"], host["state"], host["drained_by"]) for host in found] == [
        ("builder", "down", "codexteam cluster drain"),
        ("old", "down", "the configuration"),
    ]
    assert last == {"type": "cluster.listed", "count": 2, "exit_code": 6}


def test_a_host_is_drained_and_used_again(cli: Cli, hosts: Project) -> None:
    file = hosts.root / ".git" / "codexteam" / "drained-hosts"
    done = cli("cluster", "drain", "builder")
    assert (done.code, done.err) == (0, "")
    assert "builder: no new agent starts there; those at work finish" in done.out
    assert file.read_text() == "builder\n"
    assert cli("cluster", "drain", "builder").out == "builder is drained already\n"
    assert cli("cluster", "undrain", "builder").out == "builder: agents start there again\n"
    assert cli("cluster", "undrain", "builder").out == "builder is not drained\n"
    assert file.read_text() == ""


@pytest.mark.usefixtures("hosts")
def test_what_cannot_be_drained_is_said_with_what_can(cli: Cli) -> None:
    done = cli("cluster", "drain", "bulider")
    assert done.code == 2
    assert "no host is called 'bulider'; there are builder, old" in done.err
    done = cli("cluster", "undrain", "old")
    assert done.code == 2
    assert "old is drained by the configuration: draining = true" in done.err


def test_a_name_that_no_host_has_any_more_is_shown_and_can_be_undrained(cli: Cli, hosts: Project) -> None:
    cli("cluster", "drain", "builder")
    (Path(os.environ["HOME"]) / ".codex" / "codexteam.config.toml").write_text(HOSTS.replace('"builder"', '"new"'))
    assert "builder: drained, and no host is called so\n-> codexteam cluster undrain builder" in cli("cluster").out
    assert cli("cluster", "undrain", "builder").code == 0
    assert (hosts.root / ".git" / "codexteam" / "drained-hosts").read_text() == ""


def test_without_hosts_to_drain_it_says_what_else_to_do(cli: Cli, project: Project) -> None:
    assert project.root.is_dir()
    done = cli("cluster", "drain", "default", "-c", 'codexteam.sandbox.kind="bubblewrap"')
    assert done.code == 2
    assert "codexteam pause" in done.err


@pytest.mark.docker
async def test_who_works_on_an_engine_is_read_from_labels(tmp_path: Path) -> None:
    async with rig(tmp_path, engines=(EngineSettings("one", slots=4),)) as found:
        await found.start()
        client = EngineClient(EngineSettings("one"), os.environ)
        facts = await look_at_engine(client)
        await client.close()
    assert facts.version
    assert "runc" in facts.runtimes
    [mine] = [one for one in facts.occupants if one.owner == str(tmp_path)]
    assert (mine.agent, mine.run_id) == ("implementer T1.1", found.run_id)
