"""What a set-up's sandbox is made of."""

from pathlib import Path

from codexteam.config.settings import SandboxLimits, SandboxSettings
from codexteam.core.ids import AgentKey, CommitId, Purpose, RunId
from codexteam.environment.mirrors import read_registries
from codexteam.environment.plan import BIN, VENV, Ecosystem, Offer, SetupPlan, SetupStep
from codexteam.ports.environments import SetupOrder
from codexteam.ports.sandbox import BaseSource
from codexteam.run.environment.setup_order import SetupInputs, setup_limits, setup_order

PASSWORD = "hunter2-of-the-mirror"
STEP = SetupStep("uv pip install -e .", "pyproject.toml", Ecosystem.PYTHON)


def _order(
    inputs: SetupInputs | None = None, settings: SandboxSettings | None = None, plan: SetupPlan | None = None
) -> SetupOrder:
    return setup_order(
        plan or SetupPlan(needs=Offer((STEP,), paths=(f"{VENV}/bin",), hosts=("plan.example.org",))),
        "key",
        agent=AgentKey(RunId("20261121-0231-7f3a"), "ci_runner", Purpose.CI, "setup.key", 1),
        base=BaseSource(CommitId("a" * 40), Path("/nowhere/base.tar"), CommitId("a" * 40)),
        settings=settings or SandboxSettings(),
        inputs=inputs or SetupInputs(),
    )


def _inputs(**variables: str) -> SetupInputs:
    return SetupInputs(read_registries(variables, {}))


def test_a_set_up_asks_registries_mirrors_and_hosts_that_are_named() -> None:
    order = _order(
        _inputs(PIP_INDEX_URL="https://mirror.example.org/simple"), SandboxSettings(setup_hosts=("own.example.org",))
    )

    wanted = {"pypi.org", "plan.example.org", "mirror.example.org", "own.example.org"}
    assert wanted <= {*order.network.hosts}
    assert "registry.npmjs.org" not in order.network.hosts, "nothing of Node is installed"


def test_a_mirrors_credentials_are_in_the_variables_and_known_as_secrets() -> None:
    inputs = _inputs(PIP_INDEX_URL=f"https://user:{PASSWORD}@mirror.example.org/simple", CARGO_REGISTRY_TOKEN="t0ken-1")

    assert PASSWORD in _order(inputs).variables["PIP_INDEX_URL"]
    assert {PASSWORD, "t0ken-1"} <= {*inputs.credentials}
    assert "user" not in inputs.credentials
    assert PASSWORD not in f"{inputs!r} {_order(inputs)!r}"


def test_a_token_in_the_place_of_a_user_is_a_secret() -> None:
    assert "tok%20en-12" in _inputs(PIP_INDEX_URL="https://tok%20en-12@mirror.example.org/simple").credentials
    assert "tok en-12" in _inputs(PIP_INDEX_URL="https://tok%20en-12@mirror.example.org/simple").credentials


def test_the_users_proxy_does_not_take_the_place_of_the_sandboxs() -> None:
    order = _order(_inputs(HTTPS_PROXY="http://proxy.example.org:3128", no_proxy="x"))

    assert not {"HTTPS_PROXY", "no_proxy"} & {*order.variables}


def test_secrets_are_for_the_users_own_script_alone() -> None:
    inputs = SetupInputs(secrets={"PKGS_TOKEN": PASSWORD})

    assert _order(inputs).secrets == {}
    own = _order(inputs, plan=SetupPlan(needs=Offer((STEP,)), secrets=True))
    assert own.secrets == {"PKGS_TOKEN": PASSWORD}


def test_what_the_set_up_links_is_found_behind_what_the_plan_names() -> None:
    assert _order().paths == (f"{VENV}/bin", BIN)


def test_a_set_up_has_more_disk_than_an_agent_and_no_more_memory() -> None:
    agents = SandboxLimits()

    assert setup_limits(agents).workspace_bytes > agents.workspace_bytes
    assert setup_limits(agents).memory_bytes == agents.memory_bytes
