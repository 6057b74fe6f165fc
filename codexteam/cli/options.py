"""The options that every command takes, before its name or after it, with Codex's letters and meaning."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from codexteam.config.request import LoadRequest


class ColorChoice(StrEnum):
    """When output is coloured."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class GlobalOptions:
    """What was said on the command line to all commands."""

    directory: Path | None = None
    profile: str | None = None
    overrides: tuple[str, ...] = ()
    """`-c KEY=VALUE`, as written, in order."""
    model: str | None = None
    strict_config: bool = False
    enable: tuple[str, ...] = ()
    disable: tuple[str, ...] = ()
    oss: bool = False
    local_provider: str | None = None
    color: ColorChoice = ColorChoice.AUTO


def global_options(ctx: typer.Context) -> GlobalOptions:
    """Give the global options of a command's context."""
    found = ctx.obj
    return found if isinstance(found, GlobalOptions) else GlobalOptions()


def load_request(ctx: typer.Context) -> "LoadRequest":
    """Give what `config.load` needs to know of this command line and its surroundings."""
    from codexteam.config.environment import read_environment
    from codexteam.config.request import LoadRequest

    options = global_options(ctx)
    return LoadRequest(
        cwd=working_directory(options),
        environment=read_environment(),
        profile=options.profile,
        overrides=options.overrides,
        model=options.model,
        enable=options.enable,
        disable=options.disable,
        strict=options.strict_config,
        oss=options.oss,
        flags={"oss_provider": options.local_provider} if options.local_provider else {},
    )


def working_directory(options: GlobalOptions) -> Path:
    """Give the directory that the command works in, absolute.

    Raises:
        UsageError: `-C` names no directory.
    """
    from codexteam.errors import UsageError

    directory = (options.directory or Path()).expanduser()
    if not directory.is_dir():
        raise UsageError(f"-C {directory}: there is no such directory", hint="give the path of a directory that exists")
    return directory.resolve()


def share_with_commands(root: object) -> None:
    """Let every command below `root` take the root's options too, so that `run -m x` means `-m x run`.

    A command's own option wins over a shared one with the same name. What is said after the command wins over what is
    said before it; lists are joined.
    """
    for argument in (found for command in _commands_below(root) for found in _parameters(command)):
        if getattr(argument, "param_type_name", "") == "argument" and hasattr(argument, "display_type_rich"):
            argument.display_type_rich = _no_type  # a text for the parser's newer versions
    shared = [parameter for parameter in _parameters(root) if getattr(parameter, "name", None) in _NAMES]
    for command in _commands_below(root):
        taken = {name for parameter in _parameters(command) for name in getattr(parameter, "opts", ())}
        for parameter in shared:
            if not taken.intersection(parameter.opts):  # type: ignore[attr-defined]  # an option: `_NAMES` says so
                _parameters(command).append(_shared(parameter))
        if not getattr(command, "epilog", None):
            command.epilog = _EPILOG  # type: ignore[attr-defined]  # a command of the parser


def _no_type(*_: object, **__: object) -> str:
    """Say no type in the help: each argument is a text, and `<list[str]>` is no user's word."""
    return ""


_EPILOG = "Options for all commands, such as -C, -p, -c and -m, may stand here too: codexteam --help lists them."
_NAMES = frozenset(field.name for field in fields(GlobalOptions))


def _parameters(command: object) -> list[object]:
    found = getattr(command, "params", [])
    return found if isinstance(found, list) else []


def _commands_below(group: object) -> list[object]:
    children = list(getattr(group, "commands", {}).values())
    return [*children, *(below for child in children for below in _commands_below(child))]


def _shared(parameter: object) -> object:
    twin = copy.copy(parameter)
    for name, value in {
        "expose_value": False,
        "hidden": True,
        "callback": _merging(str(getattr(parameter, "name", ""))),
    }.items():
        setattr(twin, name, value)
    return twin


def _merging(name: str) -> Callable[[typer.Context, object, object], object]:
    def merge(ctx: typer.Context, _parameter: object, value: object) -> object:
        source = ctx.get_parameter_source(name)
        if source is None or source.name.startswith("DEFAULT"):
            return value  # nothing was said here, which takes nothing back
        options = global_options(ctx)
        before = getattr(options, name)
        if isinstance(before, tuple):
            joined = (*before, *(value if isinstance(value, list | tuple) else ()))
            ctx.obj = replace(options, **{name: joined})  # type: ignore[arg-type]  # a field by its name
        else:
            ctx.obj = replace(options, **{name: value})  # type: ignore[arg-type]  # a field by its name
        return value

    return merge
