"""`codexteam init` and `codexteam doctor`: from nothing to a machine that can start a run."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from codexteam.cli.options import global_options, load_request
from codexteam.config.starter import Tier

if TYPE_CHECKING:
    from codexteam.config.installing import InstalledFile


def register(app: typer.Typer) -> None:
    """Add the commands to the root."""
    app.command("init")(init)
    app.command("doctor")(doctor)


def init(
    ctx: typer.Context,
    *,
    tier: Annotated[
        Tier, typer.Option("--tier", help="How you pay, which decides the models: fast ones come with pro.")
    ] = Tier.PLUS,
    model: Annotated[str | None, typer.Option("--model", "-m", metavar="MODEL", help="The model of all roles.")] = None,
    fast_model: Annotated[
        str | None, typer.Option("--fast-model", metavar="MODEL", help="The model of explorer and ci_runner.")
    ] = None,
    project: Annotated[
        bool, typer.Option("--project", help="Write to the project's .codex instead of the Codex home.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Replace files that differ; a backup is kept. Never config.toml.")
    ] = False,
) -> None:
    """Write the starter pack: settings and ten role files."""
    from codexteam.config.installing import install
    from codexteam.config.places import project_root
    from codexteam.config.starter import starter_pack

    model = global_options(ctx).model if model is None else model
    files = starter_pack(tier, model=model, fast_model=fast_model, project=project)
    request = load_request(ctx)
    if project:
        root = project_root(request.cwd, (".git",))
        installed = install(files, root / ".codex", force=force, within=root)
    else:
        root = None
        installed = install(files, _codex_home(request.environment, request.cwd), force=force)
    sys.stdout.write(_told(installed, Path(request.environment.get("HOME", "/nonexistent"))))
    sys.stdout.write(_next(root))


def doctor(
    ctx: typer.Context,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="JSON Lines for programs.")] = False,
) -> int:
    """Check what a run needs, and say what to do about what is missing."""
    from codexteam.app.doctor import examine
    from codexteam.cli.doctor_view import show

    return show(examine(load_request(ctx)), as_json=as_json)


def _codex_home(environment: Mapping[str, str], cwd: Path) -> Path:
    """Give where the Codex home is or will be; unlike everywhere else, `CODEX_HOME` may name what is not there yet."""
    from codexteam.config.places import home_folder

    named = environment.get("CODEX_HOME")
    return cwd / Path(named).expanduser() if named else home_folder(environment) / ".codex"


def _told(installed: "Sequence[InstalledFile]", home: Path) -> str:
    """Give one line per file: what became of it."""
    from codexteam.config.installing import Action
    from codexteam.core.text import clean_line

    lines = []
    for file in installed:
        shown = f"~/{file.path.relative_to(home)}" if file.path.is_relative_to(home) else str(file.path)
        note = ""
        if file.backup is not None:
            note = f"  (backup: {file.backup.name})"
        elif file.action is Action.KEPT:
            note = "  (yours; --force replaces it)" if file.replaceable else "  (yours)"
        lines.append(clean_line(f"{file.action.value:<9}  {shown}{note}") + "\n")
    return "".join(lines)


def _next(project_root: Path | None) -> str:
    from codexteam.core.text import clean_line

    trust = (
        ""
        if project_root is None
        else "A project's configuration counts only where you trust it. In config.toml of your Codex home:\n"
        f"  [projects.{json.dumps(clean_line(str(project_root)), ensure_ascii=False)}]\n"
        '  trust_level = "trusted"\n'
    )
    return f"\n{trust}Next: codexteam doctor\n"
