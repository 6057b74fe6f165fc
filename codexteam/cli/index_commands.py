"""`codexteam index`: the index of the code: brought up to date, drawn as a map for a goal, searched."""

from typing import Annotated

import typer

from codexteam.cli.options import load_request
from codexteam.cli.printing import Json, StateDir, output, printed, project_of
from codexteam.errors import UsageError


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("index")(index)


def index(
    ctx: typer.Context,
    *,
    goal: Annotated[
        str | None, typer.Argument(metavar="GOAL", help="Draw the map that an agent with this goal begins with.")
    ] = None,
    text: Annotated[
        str | None, typer.Option("--text", metavar="WORDS", help="Find the parts that words fit best.")
    ] = None,
    symbol: Annotated[
        str | None, typer.Option("--symbol", metavar="NAME", help="Find definitions and uses of a name.")
    ] = None,
    pattern: Annotated[
        str | None, typer.Option("--pattern", metavar="CODE", help="Find code by structure: 'open($PATH, $$$)'.")
    ] = None,
    path: Annotated[str, typer.Option("--path", metavar="PATH", help="Search only below this path.")] = "",
    tokens: Annotated[int | None, typer.Option("--tokens", min=1, max=50_000, help="How long the map may be.")] = None,
    commit: Annotated[str, typer.Option("--commit", metavar="REV", help="Whose files.")] = "HEAD",
    as_json: Json = False,
    state_dir: StateDir = None,
) -> int:
    """Draw a map of the code for a goal, or search the code.

    Without either, brings the index up to date and says what is in it.
    """
    from codexteam.app.code_map import CodeQuestion, look_at_code
    from codexteam.config.load import load_settings
    from codexteam.views.code_map import print_answer

    asked = [
        name
        for name, value in (("GOAL", goal), ("--text", text), ("--symbol", symbol), ("--pattern", pattern))
        if value
    ]
    if len(asked) > 1:
        raise UsageError(f"{' and '.join(asked)} ask for different things", hint="give one of them")
    question = CodeQuestion(goal or "", text or "", symbol or "", pattern or "", path, tokens, commit)
    project = project_of(ctx, state_dir)
    answer = look_at_code(project, load_settings(load_request(ctx)), question)
    return printed(output(ctx, as_json=as_json), lambda out: print_answer(out, question, answer))
