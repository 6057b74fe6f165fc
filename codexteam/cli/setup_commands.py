"""`codexteam init` and `codexteam doctor`: from nothing to a machine that can start a run."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from codexteam.cli.options import global_options, load_request
from codexteam.cli.printing import Json, output, printed
from codexteam.config.starter import Tier

if TYPE_CHECKING:
    from codexteam.views.streams import OutputStreams


def register(app: typer.Typer) -> None:
    """Add the commands to the root."""
    app.command("init")(init)
    app.command("doctor")(doctor)


def init(
    ctx: typer.Context,
    *,
    tier: Annotated[
        Tier, typer.Option("--tier", help="How you pay, which decides the models; pro adds a fast one.")
    ] = Tier.PLUS,
    model: Annotated[
        str | None, typer.Option("--model", "-m", metavar="MODEL", help="Model for all roles (tier `deep`).")
    ] = None,
    fast_model: Annotated[
        str | None,
        typer.Option("--fast-model", metavar="MODEL", help="Model for explorer and ci_runner (tier `fast`)."),
    ] = None,
    project: Annotated[
        bool, typer.Option("--project", help="Write to the project's .codex instead of the Codex home.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Replace files that differ; a backup is kept. Never config.toml.")
    ] = False,
    skill: Annotated[
        bool,
        typer.Option(
            "--skill", help="Write only a skill for other agents, such as Codex, into the project's .agents/skills."
        ),
    ] = False,
) -> int:
    """Write the starter pack: settings and ten role files."""
    if skill:
        return _init_skill(ctx, force=force)
    from codexteam.app.init_offers import found_setup, model_offers, unpriced
    from codexteam.config.installing import install
    from codexteam.config.locations import project_root
    from codexteam.config.starter import starter_pack
    from codexteam.views.setup import print_installed, print_next_steps, print_offers, print_setup_offer

    model = global_options(ctx).model if model is None else model
    files = starter_pack(tier, model=model, fast_model=fast_model, project=project)
    request = load_request(ctx)
    root = project_root(request.cwd, (".git",)) if project else None
    folder = root / ".codex" if root else _codex_home(request.environment, request.cwd)
    script = found_setup(request) if root is not None else None
    installed = install([*files, *([script] if script else [])], folder, force=force, within=root)

    def show(out: "OutputStreams") -> None:
        print_installed(out, installed, request.environment)
        if script is not None:
            print_setup_offer(out)
        out.out.flush()  # asking for the models may take a while
        print_offers(out, model_offers(request))
        print_next_steps(out, root, unpriced(request))

    return printed(output(ctx, as_json=False), show)


def _init_skill(ctx: typer.Context, *, force: bool) -> int:
    from codexteam.config.installing import install
    from codexteam.config.locations import project_root
    from codexteam.config.starter import SKILL_FOLDER, skill
    from codexteam.views.setup import print_installed

    request = load_request(ctx)
    root = project_root(request.cwd, (".git",))
    installed = install(skill(), root / SKILL_FOLDER, force=force, within=root)
    return printed(output(ctx, as_json=False), lambda out: print_installed(out, installed, request.environment))


def doctor(ctx: typer.Context, *, as_json: Json = False) -> int:
    """Check what a run needs, and say how to get what is missing."""
    from codexteam.app.doctor import examine
    from codexteam.views.setup import print_examination

    found = examine(load_request(ctx))
    printed(output(ctx, as_json=as_json), lambda out: print_examination(out, found))
    return found.exit_code


def _codex_home(environment: Mapping[str, str], cwd: Path) -> Path:
    """Return where the Codex home is or will be; unlike everywhere else, `CODEX_HOME` may name what is not there yet."""
    from codexteam.config.locations import home_folder

    named = environment.get("CODEX_HOME")
    return cwd / Path(named).expanduser() if named else home_folder(environment) / ".codex"
