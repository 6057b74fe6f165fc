"""The starter pack that `codexteam init` writes: what is in it for each tier, and a skill for other agents."""

import re
from dataclasses import dataclass
from enum import StrEnum

from codexteam.config.locations import BUNDLED_ROLES, DEFAULT_MODEL, bundled_role_file
from codexteam.errors import UsageError

#: What roles that read or run use where the plan includes it.
FAST_MODEL = "gpt-5.3-codex-spark"


class Tier(StrEnum):
    """How the user pays, which decides the models."""

    PRO = "pro"
    """A ChatGPT plan that includes a fast model."""
    PLUS = "plus"
    """A ChatGPT plan; one model everywhere."""
    API = "api"
    """Paid by the token with an API key; one model everywhere."""


@dataclass(frozen=True, slots=True)
class StarterFile:
    """One file of the pack."""

    name: str
    """Relative to the folder it goes to, with slashes."""
    text: str
    replaceable: bool = True
    """False for Codex's own config.toml, which is never replaced."""


def starter_pack(
    tier: Tier, *, model: str | None = None, fast_model: str | None = None, project: bool = False
) -> tuple[StarterFile, ...]:
    """Return the files of a tier.

    Args:
        tier: How the user pays.
        model: For all roles, `gpt-5.4` when None.
        fast_model: For explorer and ci_runner; None is the tier's own choice.
        project: For a repository's `.codex`, which may not choose where requests go.

    Raises:
        UsageError: a model name that cannot be one.
    """
    main = _checked(model, "--model") if model is not None else DEFAULT_MODEL
    usual = FAST_MODEL if tier is Tier.PRO else main
    fast = _checked(fast_model, "--fast-model") if fast_model is not None else usual
    roles = (StarterFile(f"agents/{name}.toml", _role_text(name)) for name in BUNDLED_ROLES)
    return (
        StarterFile("config.toml", _codex_text(main), replaceable=False),
        StarterFile("codexteam.config.toml", _team_text(tier, main, fast, project=project)),
        *roles,
    )


def _checked(model: str, flag: str) -> str:
    if not model.strip() or model != model.strip() or not model.isprintable():
        raise UsageError(
            f"{flag} {model!r}: not a model name",
            hint=f"give a model name without spaces around it: {flag} gpt-5.4",
        )
    return model


def _quoted(text: str) -> str:
    """Return a TOML basic string; `text` is printable."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _role_text(name: str) -> str:
    """Return a role file that names no model: codexteam takes that of its tier, Codex that of the session."""
    text = bundled_role_file(name).read_text(encoding="utf-8")
    return re.sub(r"^model = .*\n", "", text, count=1, flags=re.MULTILINE)


def _codex_text(model: str) -> str:
    return f"""\
# Read by the Codex CLI and by codexteam. What is codexteam's alone stands in codexteam.config.toml beside this file.

model = {_quoted(model)}
model_reasoning_effort = "medium"
"""


def _team_text(tier: Tier, model: str, fast: str, *, project: bool) -> str:
    parts = [_HEAD]
    if tier is Tier.API:
        parts.append(_commented(_PROVIDER, _PROVIDER_ELSEWHERE) if project else _PROVIDER)
    parts.append(_MODELS.format(deep=_quoted(model), fast=_quoted(fast)))
    parts.append(_TABLES)
    if tier is Tier.API:
        parts.append(_PRICES.format(model=_quoted(model)))
    return "\n".join(parts)


def _commented(text: str, reason: str) -> str:
    lines = "".join(f"# {line}\n" if line else "#\n" for line in text.splitlines())
    return f"{reason}{lines}"


_HEAD = """\
# codexteam's settings. They stand over config.toml; the Codex CLI does not read this file, so it may also hold
# Codex's own keys for the team alone. `codexteam config show --origin` shows the effective values and where they come from.

sandbox_mode = "workspace-write" # the most that any role gets; each role file may ask for less
"""

_PROVIDER = """\
model_provider = "openai-api"

[model_providers.openai-api]
name = "OpenAI API"
base_url = "https://api.openai.com/v1"
env_key = "OPENAI_API_KEY" # the variable that holds the key; the key itself never stands in a file
env_key_instructions = "export OPENAI_API_KEY=..."
"""

_PROVIDER_ELSEWHERE = """\
# A project may not choose where requests go. Put these lines into codexteam.config.toml in your Codex home
# (~/.codex, or where CODEX_HOME points):
#
"""

_MODELS = """\
# The one place to change models. A role file may name a tier or a model of its own: model = "fast".
[codexteam.models]
deep = {deep} # roles that decide or write
fast = {fast} # explorer and ci_runner, which read or run
"""

_TABLES = """\
[agents]
max_concurrent_threads_per_session = 6 # agents at work at the same time

[codexteam.budget]
run_tokens = 20_000_000 # input and output of all agents together; at the limit the run stops and can be resumed

[codexteam.limits]
max_rounds = 5 # passes of the gates before a person is asked
"""

_PRICES = """\
# What known models cost ships with codexteam (`codexteam doctor` shows it). Your own price counts before that, in USD for
# a million tokens; what is unknown is shown as unknown.
#
# [codexteam.prices.{model}]
# input_usd =
# cached_input_usd =
# output_usd =
#
# A limit in money stands under [codexteam.budget] above:
# run_usd = 5.0
"""


#: Where agents look for skills, relative to a repository's root.
SKILL_FOLDER = ".agents/skills/codexteam"

_TEXT = """\
---
name: codexteam
description: Hand a large goal to a team of agents. They plan it, work in parallel in sandboxes, \
merge, test and review until it is green. Also for reviewing a change without making one.
---

# codexteam

Use it for work that splits into several tasks, takes long, or has to be proven by tests and reviews. Do small edits yourself.
It works on commits: what is not committed is not part of a run. It spends money: ask your user for a budget first.

With the MCP server (`codexteam mcp`) use its tools; else the same commands in a shell:

1. `codexteam plan "GOAL" --budget 2usd` writes `plan.md`. Show it to your user, who may edit it.
2. `codexteam resume` works on that plan; `codexteam run "GOAL" --budget 5usd` does both. Both take minutes to hours: start them
   in the background.
3. `codexteam status --json` says how the run is. Look every few minutes, not every few seconds.
4. `codexteam inbox` lists what waits for a person. Pass on your user's answer, not your own:
   `codexteam answer ITEM "TEXT"`, `codexteam approve ITEM`.
5. `codexteam diff` shows the result, which is on the branch `codexteam/<run id>`. `codexteam apply` merges it into the
   checked-out branch, `codexteam pr` opens a pull request.

`codexteam review --base main` lets the gates judge a branch: exit code 0 is ship, 3 is block.

Exit codes: 0 green, 2 usage or configuration, 3 not green, 4 budget or limit, 5 waits for a person, 6 environment, 7 merge or
push. Errors say what to do next. After any interruption `codexteam resume` continues.
"""


def skill() -> tuple[StarterFile, ...]:
    """Return the files of the skill, relative to `SKILL_FOLDER`."""
    return (StarterFile("SKILL.md", _TEXT),)
