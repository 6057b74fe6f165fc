"""An environment as `codexteam env` shows it, and progress while one is built."""

import textwrap
from collections.abc import Callable, Iterator, Sequence

from codexteam.app.environments import EnvironmentStatus, GateState, KeptEnvironments
from codexteam.app.task_shell import AttemptTree
from codexteam.core.command_ending import Ending
from codexteam.core.ids import JSONObject
from codexteam.core.text import clean_line
from codexteam.environment.plan import SetupStep
from codexteam.errors import SurroundingsError
from codexteam.ports.environments import Environment, StepOutcome
from codexteam.ports.reporter import RunEvent
from codexteam.ports.sandbox import CommandResult
from codexteam.report.progress import describe
from codexteam.views.formatting import elapsed
from codexteam.views.streams import OutputStreams

_WIDTH = 80
_LABEL = 10
_MANY = 8
#: What is shown of what a step that failed printed.
_LAST_LINES = 12


def progress(output: OutputStreams) -> Callable[[RunEvent], None]:
    """Return what says what is built: lines beside the result, or JSON lines before the last one."""

    def report(event: RunEvent) -> None:
        if output.json_lines:
            output.record({"type": event.kind, "at": round(event.at_seconds, 3), **event.fields})
            output.out.flush()
            return
        words = describe(event)
        if words and event.kind != "environment.chosen":
            output.note(clean_line(words))
        said = event.fields.get("output")
        if event.kind == "environment.failed" and isinstance(said, str):
            for line in said.rstrip().splitlines()[-_LAST_LINES:]:
                output.note(f"    {line}")

    return report


def print_status(output: OutputStreams, status: EnvironmentStatus, *, is_checked: bool = False) -> int:
    """Print what is known; where it `is_checked`, the exit code says whether the gate commands run."""
    code = _exit_code(status) if is_checked else 0
    if output.json_lines:
        output.record(_record(status, code))
        return code
    for line in _lines(status):
        output.write(f"{line}\n")
    return code


def _exit_code(status: EnvironmentStatus) -> int:
    """Return 6 where a run could not begin: the set-up fails, or no gate command runs."""
    if status.problem:
        return SurroundingsError.exit_code
    ran = [gate for gate in status.gates if gate.outcome is not None and gate.outcome.ending.checked]
    wanted = status.gates if status.configured_gates else status.gates[:1]
    missing = len(ran) < len(status.gates) if status.configured_gates else not ran
    return SurroundingsError.exit_code if wanted and missing else 0


def _lines(status: EnvironmentStatus) -> Iterator[str]:
    repository = status.repository
    dirty = "; uncommitted changes are not in it" if repository.dirty else ""
    yield from _entry("commit", f"{repository.head[:12]}{dirty}")
    yield from _entry("engine", f"{status.engine.name} {status.engine.version}".strip())
    yield from _entry("base", status.made_from)
    for source in status.plan.sources:
        why = f": {source.why}" if source.why else ""
        yield from _entry("source" if source.used else "not used", f"{source.where}{why}")
    if status.plan.is_empty:
        yield from _entry("steps", "none: no file asks for anything to be set up")
    else:
        yield from _built(status)
    for place, gate in enumerate(status.gates):
        yield from _entry("gates" if not place else "", _gate(gate))
    if not status.gates:
        yield from _entry("gates", "no test command was found; name one in [codexteam.gates] commands")
    notices = status.made.notices if status.made is not None else tuple(status.plan.needs.notices)
    for service in status.plan.needs.services:
        yield from _entry("service", f"{service.name} ({service.image}), which {service.source} names")
    for each in status.plan.needs.service_commands:
        yield from _entry("", f"`{each.command}` in every sandbox ({each.source})")
    for notice in notices[:_MANY]:
        yield from _entry("note", notice)
    if len(notices) > _MANY:
        yield from _entry("", f"and {len(notices) - _MANY} more: --json has them all")
    if status.problem:
        yield from _entry("failed", status.problem)


def _built(status: EnvironmentStatus) -> Iterator[str]:
    made = status.made
    if made is None:
        yield from _entry("key", f"{status.key}, not built: codexteam env build does it, and so does a run")
        for number, step in enumerate(status.plan.needs.steps, start=1):
            yield from _entry("steps" if number == 1 else "", f"{number}. {_step(step)}")
        return
    size = f", {made.size_bytes / (1 << 20):.0f} MiB" if made.size_bytes else ""
    now = status.seen_at_seconds
    age = elapsed(max(0.0, now - made.made_at_seconds))
    used = f", last used {elapsed(max(0.0, now - status.used_at_seconds))} ago" if status.used_at_seconds else ""
    yield from _entry("key", f"{status.key}{size}, built {age} ago in {made.wall_seconds:.0f} s{used}")
    for number, outcome in enumerate(made.steps, start=1):
        yield from _entry("steps" if number == 1 else "", f"{number}. {_outcome(outcome)}")


def _step(step: SetupStep) -> str:
    kinds = [word for word, holds in (("may fail", step.optional), ("needs root", step.needs_root)) if holds]
    beside = f" [{', '.join(kinds)}]" if kinds else ""
    return f"{_one_line(step.command)} ({step.source}){beside}"


def _outcome(outcome: StepOutcome) -> str:
    note = f", {outcome.note}" if outcome.note else ""
    return f"{_one_line(outcome.command)} ({outcome.source}): {outcome.wall_seconds:.1f} s{note}"


def _one_line(command: str) -> str:
    first, _, rest = command.strip().partition("\n")
    return f"{first} ..." if rest and not first.endswith("...") else first


def _gate(gate: GateState) -> str:
    source = f" ({gate.source})" if gate.source else ""
    return f"{_one_line(gate.command)}{source}: {_words(gate)}"


def _words(gate: GateState) -> str:
    outcome = gate.outcome
    if outcome is None:
        return "not tried"
    ending = outcome.ending
    tests = ""
    if ending.executed is not None:
        tests = (
            f", {ending.executed} tests ran, {ending.failed} of them failed"
            if ending.failed
            else (f", {ending.executed} tests ran")
        )
    match ending.ending:
        case Ending.PASSED:
            return f"passes{tests}"
        case Ending.FAILED:
            return f"runs and fails ({outcome.how_it_ended}{tests})"
        case Ending.CANNOT_RUN:
            return f"cannot run: {ending.reason}"
        case Ending.NOTHING_RAN:
            return f"runs no tests: {ending.reason}"
        case Ending.TIMED_OUT:
            return "timed out"
        case _:
            return f"was killed ({outcome.how_it_ended})"


def _entry(label: str, text: str) -> Iterator[str]:
    """Return lines of at most 80 columns, the label before the first of them."""
    indent = " " * _LABEL
    shown = textwrap.wrap(
        clean_line(text),
        _WIDTH,
        initial_indent=f"{label:<{_LABEL}}",
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    yield from shown or [label]


def _record(status: EnvironmentStatus, code: int) -> JSONObject:
    made, plan = status.made, status.plan
    return {
        "type": "environment",
        "commit": status.repository.head,
        "dirty": status.repository.dirty,
        "engine": status.engine.name,
        "base": status.made_from,
        "key": status.key,
        "built": made is not None,
        "needs_nothing": plan.is_empty,
        "built_at": made.made_at_seconds if made is not None else None,
        "used_at": status.used_at_seconds or None,
        "seconds": made.wall_seconds if made is not None else None,
        "size_bytes": made.size_bytes if made is not None else None,
        "sources": [{"kind": s.kind.value, "where": s.where, "used": s.used, "why": s.why} for s in plan.sources],
        "steps": [*map(_made_step, made.steps)] if made is not None else [*map(_planned_step, plan.needs.steps)],
        "gates": [_gate_record(gate) for gate in status.gates],
        "services": [{"name": each.name, "image": each.image} for each in plan.needs.services],
        "service_commands": [{"command": each.command, "source": each.source} for each in plan.needs.service_commands],
        "hosts": list(plan.needs.hosts),
        "notices": list(made.notices if made is not None else plan.needs.notices),
        "problem": status.problem,
        "exit_code": code,
    }


def _planned_step(step: SetupStep) -> JSONObject:
    return {"command": step.command, "source": step.source, "optional": step.optional, "needs_root": step.needs_root}


def _made_step(step: StepOutcome) -> JSONObject:
    return {
        "command": step.command,
        "source": step.source,
        "exit_code": step.exit_code,
        "seconds": step.wall_seconds,
        "note": step.note,
    }


def _gate_record(gate: GateState) -> JSONObject:
    fields: JSONObject = {"command": gate.command, "source": gate.source, "ending": None}
    if gate.outcome is not None:
        ending = gate.outcome.ending
        fields |= {
            "ending": ending.ending.value,
            "reason": ending.reason,
            "exit_code": gate.outcome.exit_code,
            "tests": ending.executed,
            "failed": ending.failed,
            "seconds": gate.outcome.wall_seconds,
        }
    return fields


def print_kept(output: OutputStreams, found: KeptEnvironments) -> None:
    """Print the environments that an engine keeps."""
    if output.json_lines:
        records = (_kept_record(each, used, found.current) for each, used in found.kept)
        output.records(records, "environments.listed", engine=found.engine.name)
        return
    if not found.kept:
        output.note(f"{found.engine.name} keeps no environments")
    now = found.seen_at_seconds
    for each, used in found.kept:
        mark = "*" if each.key == found.current else " "
        size = f"{each.size_bytes / (1 << 20):.0f} MiB" if each.size_bytes else "?"
        age = elapsed(max(0.0, now - used))
        sources = "; ".join(each.sources)
        output.write(f"{mark} {each.key[:12]}  {size:>9}  used {age} ago  {clean_line(sources)}"[:_WIDTH] + "\n")


def _kept_record(each: Environment, used: int, current: str) -> JSONObject:
    return {
        "type": "environment.kept",
        "key": each.key,
        "size_bytes": each.size_bytes,
        "built_at": each.made_at_seconds,
        "used_at": used,
        "sources": list(each.sources),
        "current": each.key == current,
    }


def print_removed(output: OutputStreams, gone: Sequence[Environment]) -> None:
    """Print what was removed."""
    if output.json_lines:
        records: list[JSONObject] = [
            {"type": "environment.removed", "key": each.key, "size_bytes": each.size_bytes} for each in gone
        ]
        output.records(records, "environments.pruned")
        return
    for each in gone:
        output.write(f"removed {each.key}  {each.size_bytes / (1 << 20):.0f} MiB\n")
    if not gone:
        output.note("nothing was removed")


def say_what_a_shell_is(output: OutputStreams) -> None:
    """Say before a shell begins where its user is."""
    output.note(
        "A sandbox as agents have it, on the commit that is checked out. What you change in it is thrown away; "
        "`exit` leaves it."
    )


def say_whose_shell_it_is(output: OutputStreams, tree: AttemptTree) -> None:
    """Say before a shell begins whose workspace its user sees."""
    when = f"after turn {tree.turn}" if tree.turn else "at its end"
    waits = " Its agent waits with its next turn until you leave." if tree.at_work else ""
    output.note(
        f"A copy of the workspace of {tree.name} as it was {when}, in a sandbox like its agent's.{waits} What you change "
        "in it is thrown away; `exit` leaves it."
    )


def exit_code_of(output: OutputStreams, result: CommandResult) -> int:
    """Return the exit code of a command that ran in a sandbox, and say what the code does not."""
    if result.note:
        output.note(result.note)
    if result.exit_code is not None:
        return result.exit_code
    return 128 + result.signal if result.signal is not None else 1
