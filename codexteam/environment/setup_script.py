"""A plan as one script, for people who want to change what is set up and keep it in their repository."""

import shlex
from collections.abc import Iterator

from codexteam.environment.plan import BIN, SetupPlan, SetupStep

#: Where it goes, relative to the repository's root.
SCRIPT_PATH = ".codex/setup-environment.sh"
_END = "END_OF_STEP"
_HEAD = f"""\
#!/bin/sh
# What the environment of this repository's tests is made of, as its files ask for it. To use this script in its place,
# commit it and say so in .codex/codexteam.config.toml:
#
#     [codexteam.sandbox]
#     setup = "{SCRIPT_PATH}"
set -e

script=$(mktemp)
step() {{
  echo "== $1"
  cat > "$script"
  (cd "$2" && bash -eo pipefail "$script" < /dev/null)
}}
"""


def setup_script(plan: SetupPlan) -> str:
    """Return a script that does what a plan's steps do, in order; empty where there is nothing to set up."""
    return "\n".join(_parts(plan)) + "\n" if plan.needs.steps else ""


def _parts(plan: SetupPlan) -> Iterator[str]:
    yield _HEAD
    for name, value in sorted({**plan.needs.setup_variables, **plan.needs.variables}.items()):
        yield f"export {name}={shlex.quote(value)}"
    yield f'export PATH="{":".join(dict.fromkeys((*plan.needs.paths, BIN)))}:$PATH"'
    for step in plan.needs.steps:
        yield ""
        yield from _step(step)


def _step(step: SetupStep) -> Iterator[str]:
    only = '[ "$(id -u)" -ne 0 ] || ' if step.needs_root else ""
    beside = " || echo 'it failed; the rest continues'" if step.optional else ""
    yield f"{only}step {shlex.quote(step.source)} {shlex.quote(step.folder or '.')} <<'{_END}'{beside}"
    for name, value in sorted(step.variables.items()):
        yield f"export {name}={shlex.quote(value)}"
    yield step.command
    yield _END
