"""Whatever stands in the files of configuration: settings, or one error that says where; never anything else."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import strategies as st

from codexteam.config.load import load_settings
from codexteam.config.request import LoadRequest
from codexteam.errors import ConfigError
from tests.fuzz.mutations import byte_edits, edited_bytes, mutated
from tests.fuzz.running import TIMEOUT, fuzz, require

pytestmark = [TIMEOUT, pytest.mark.slow]

_TESTS = Path(__file__).parents[1]
_ROOT = _TESTS.parent


def _corpus() -> list[str]:
    cases = sorted((_TESTS / "data" / "codex_config_cases").rglob("*.toml"))
    texts = [case.read_bytes().decode("utf-8", errors="replace") for case in cases]
    example = (_ROOT / "config.example.toml").read_text()
    switched_on = "\n".join(
        line.removeprefix("# ") if "=" in line or line.startswith("# [") else line for line in example.split("\n")
    )
    roles = [role.read_text() for role in sorted((_ROOT / "agents").glob("*.toml"))]
    return [text for text in dict.fromkeys([*texts, example, switched_on, *roles]) if len(text) < 20_000]


TOKENS = [
    "model = 1", 'model = ""', 'model_provider = "x"', "[codexteam]", "[codexteam.budget]", "run_usd = nan",
    "run_usd = -1", "run_usd = inf",
    "run_tokens = 99999999999999999999", "[codexteam.sandbox]", 'image = ""', 'image = "-v"',
    "[[codexteam.sandbox.engines]]", 'url = "ssh://-oX"',
    "[agents.x]", 'config_file = "../../x"', 'config_file = "/dev/zero"', "[agents]", "max_threads = 0",
    "[mcp_servers.x]", "command = []",
    'url = "http://[::1"', 'url = "http://x:99999999"', "[model_providers.x]", 'base_url = "//"',
    'base_url = "http://[x"', "env_http_headers = 1",
    "[features]", "[profiles.x]", '[projects."/"]', 'trust_level = "trusted"', "a.b.c = 1", "a = {}", "a = [[]]",
    "1979-05-27", "07:32:00", "= 1",
    "[[", "]]", '"""', "'''", "[a]\n[a]", "key", "[codexteam.gates]", "commands = [1]", "[codexteam.limits]",
    "max_attempts = 0", "[skills]",
    "[codexteam.sandbox.limits]", 'memory = "1GiB"', 'memory = "0"', "[shell_environment_policy]", "set = {a = 1}",
    "[permissions.x]", "~", "\\u0000",
    '"\\ud800"', '"\\U0010ffff"', 'approve = ["merge", "x"]', 'scope = "ask"', "name = 1",
    "developer_instructions = 1", 'name = "../x"',
    'model_instructions_file = "/etc"', 'experimental_compact_prompt_file = "x\\u0000y"',
    'sandbox_mode = "danger-full-access"',
]  # fmt: skip
_TEXT = mutated(_corpus(), TOKENS).map(lambda text: text.encode("utf-8", errors="surrogatepass"))
_BYTES = st.builds(edited_bytes, _TEXT, byte_edits())
_FILE = st.one_of(_TEXT, _TEXT, _BYTES)
_OVERRIDE = st.sampled_from(
    ["model=x", "a.b=1", "=", "x", "agents.x.config_file=y", "codexteam.limits.max_threads=-1"]
) | st.text(max_size=20)
INPUTS = st.tuples(
    _FILE, st.none() | _FILE, st.none() | _FILE, st.none() | _FILE, st.lists(_OVERRIDE, max_size=2), st.booleans()
)


def _holds(case: tuple[bytes, bytes | None, bytes | None, bytes | None, list[str], bool]) -> str:
    user, team, project, role, overrides, strict = case
    with tempfile.TemporaryDirectory() as folder:
        home, cwd = Path(folder, "home"), Path(folder, "project")
        (home / "agents").mkdir(parents=True)
        (cwd / ".git").mkdir(parents=True)
        (cwd / ".codex").mkdir()
        (home / "config.toml").write_bytes(user.replace(b"$PROJECT", str(cwd).encode()))
        files = {home / "codexteam.config.toml": team, cwd / ".codex" / "config.toml": project}
        files[home / "agents" / "reviewer.toml"] = role
        for path, data in files.items():
            if data is not None:
                path.write_bytes(data)
        request = LoadRequest(
            cwd,
            {"HOME": folder, "CODEX_HOME": str(home), "PATH": "/usr/bin:/bin"},
            overrides=tuple(overrides),
            strict=strict,
            system_folder=Path(folder, "system"),
        )
        try:
            settings = load_settings(request)
        except ConfigError as error:
            require(bool(str(error).strip()), "an error has its words")
            return "refused"
        require(bool(settings.roles), "settings have roles")
        return "loaded"


def test_any_configuration_is_settings_or_one_error() -> None:
    met = fuzz("config", INPUTS, _holds, short=60)
    assert met["refused"] > 5, met
