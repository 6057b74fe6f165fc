"""The options that every command takes, before its name or after it, with Codex's letters and meaning."""

import copy
import difflib
import itertools
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
import typer.core

if TYPE_CHECKING:
    from codexteam.config.request import LoadRequest


class ColorChoice(StrEnum):
    """When output is coloured."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


class EngineWord(StrEnum):
    """What `[codexteam] engine` may be."""

    AUTO = "auto"
    CODEXTEAM = "codexteam"
    CODEX = "codex"


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
    engine: EngineWord | None = None
    color: ColorChoice = ColorChoice.AUTO


def global_options(ctx: typer.Context) -> GlobalOptions:
    """Return the global options of a command's context."""
    found = ctx.obj
    return found if isinstance(found, GlobalOptions) else GlobalOptions()


def option_words(options: GlobalOptions) -> list[str]:
    """Return the options for all commands as words, for a command that this one starts."""
    words = [word for override in options.overrides for word in ("-c", override)]
    words += [word for name in options.enable for word in ("--enable", name)]
    words += [word for name in options.disable for word in ("--disable", name)]
    if options.profile is not None:
        words += ["-p", options.profile]
    if options.model is not None:
        words += ["-m", options.model]
    if options.strict_config:
        words.append("--strict-config")
    if options.oss:
        words.append("--oss")
    if options.local_provider is not None:
        words += ["--local-provider", options.local_provider]
    if options.engine is not None:
        words += ["--engine", options.engine.value]
    return words


def load_request(ctx: typer.Context) -> "LoadRequest":
    """Return what `config.load` needs to know of this command line and its surroundings."""
    from codexteam.config.request import LoadRequest, read_environment

    options = global_options(ctx)
    for name, text in (("-m", options.model or ""), *(("-c", each) for each in options.overrides)):
        checked_text(name, text)
    return LoadRequest(
        cwd=working_directory(options),
        environment=read_environment(),
        profile=options.profile,
        overrides=(*options.overrides, *([f'codexteam.engine="{options.engine}"'] if options.engine else ())),
        model=options.model,
        enable=options.enable,
        disable=options.disable,
        strict=options.strict_config,
        oss=options.oss,
        flags={"oss_provider": options.local_provider} if options.local_provider else {},
    )


def checked_text(name: str, text: str) -> str:
    """Return what was typed as a text.

    Raises:
        UsageError: it is not valid UTF-8.
    """
    from codexteam.errors import UsageError

    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise UsageError(
            f"{name} is not valid UTF-8: character {error.start + 1} is a byte that does not belong there",
            hint="type it in a UTF-8 terminal",
        ) from error
    return text


def working_directory(options: GlobalOptions) -> Path:
    """Return the directory that the command works in, absolute.

    Raises:
        UsageError: `-C` names no directory.
    """
    from codexteam.errors import UsageError

    directory = (options.directory or Path()).expanduser()
    if not directory.is_dir():
        raise UsageError(f"-C {directory}: there is no such directory", hint="give the path of a directory that exists")
    return directory.resolve()


def repositories_of(ctx: typer.Context, words: Sequence[str]) -> dict[str, Path]:
    """Return the repositories that `--repo` names, by their names.

    Raises:
        UsageError: one cannot be read.
    """
    if not words:
        return {}
    from codexteam.app.repositories import read_named

    return read_named(words, working_directory(global_options(ctx)))


#: The key in a context under which the words of the command line stand.
_TYPED = "codexteam.command_line"


class Commands(typer.core.TyperGroup):
    """The root of the commands: knows what was typed, and what may be meant by a command that is none."""

    # the parser's own types are private
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Keep what was typed, for messages that show it corrected."""
        ctx.meta[_TYPED] = tuple(args)
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find a command; a goal without `run` before it is shown with it.

        Raises:
            UsageError: there is no such command.
        """
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            from codexteam.errors import UsageError

            near = difflib.get_close_matches(args[0], self.list_commands(ctx), n=1)
            words = list(itertools.takewhile(lambda word: not word.startswith("-"), args))
            is_goal = len(words) > 1 or " " in words[0]
            hint = f"codexteam run {quoted(' '.join(words))}" if is_goal else "codexteam --help lists them"
            if near:
                hint = f"did you mean codexteam {near[0]}?"
            elif is_goal:
                hint = f"to begin a run: {hint}"
            raise UsageError(f"there is no command {args[0]!r}", hint=hint)
        return super().resolve_command(ctx, args)


def goal_of(ctx: typer.Context, first: str | None) -> str | None:
    """Return the goal; one that was typed without quotes is refused, with the command line as it is meant.

    Raises:
        UsageError: there are more words.
    """
    if first is None or not ctx.args:
        return first
    from codexteam.errors import UsageError

    words = [first, *ctx.args]
    left, line = list(words), ["codexteam"]
    for typed in ctx.meta.get(_TYPED, ()):
        if left and typed == left[0] and len(line) > 1:
            line += [quoted(" ".join(words))] if len(left) == len(words) else []
            left.pop(0)
        else:
            line.append(quoted(typed) if not typed or shlex.quote(typed) != typed else typed)
    raise UsageError(
        f"the goal is one argument, found {len(words)} words: it needs quotes", hint=f"did you mean {' '.join(line)}"
    )


def quoted(text: str) -> str:
    """Return a text as one word of a shell's command line."""
    return shlex.quote(text) if any(letter in text for letter in '"$`\\!') else f'"{text}"'


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
    for command in (root, *_commands_below(root)):
        for parameter in _parameters(command):
            _convert_only_what_needs_it(parameter)
        _let_help_need_no_converter(command)


def _let_help_need_no_converter(command: Any) -> None:
    """Do the same for `--help`, which the parser adds when a command line is read."""
    make = command.get_help_option
    seen: list[object] = []

    def get_help_option(ctx: typer.Context) -> object:
        option = make(ctx)
        if option is not None and not seen:
            _convert_only_what_needs_it(option)
            seen.append(option)
        return option

    command.get_help_option = get_help_option


def _convert_only_what_needs_it(parameter: Any) -> None:
    """Spare a parameter its converter where the value has the type already: a default, or a text that stays one.

    The parser builds a converter for each parameter of a command, said or not, and imports pydantic for the first: a
    fifth of the time that a short command takes. Versions of it that convert in another way are left alone.
    """
    described = getattr(parameter, "type_descriptor", None)
    if described is None:
        return
    is_text = described.annotation is str and described.parameter_info.parser is None
    convert = parameter.process_value

    def process_value(ctx: typer.Context, value: object) -> object:
        source = ctx.get_parameter_source(parameter.name)
        is_default = source is not None and source.name == "DEFAULT" and not parameter.required
        if not is_default and not (is_text and _is_valid_text(value)):
            return convert(ctx, value)
        if value is None and (parameter.multiple or parameter.nargs == -1):
            value = ()
        return value if parameter.callback is None else parameter.callback(ctx, parameter, value)

    parameter.process_value = process_value


def _is_valid_text(value: object) -> bool:
    return isinstance(value, str) and not any("\ud800" <= letter <= "\udfff" for letter in value)


def _no_type(*_: object, **__: object) -> str:
    """Show no type in the help: every argument is text, and `<list[str]>` means nothing to a user."""
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
