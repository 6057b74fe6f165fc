"""The hosts as `codexteam cluster` shows them: a table, what is wrong with them, and who works where."""

from collections.abc import Iterator
from itertools import groupby

from rich.text import Text

from codexteam.app.cluster import ClusterStatus, Drained
from codexteam.app.cluster_status import HostState, HostStatus
from codexteam.core.ids import JSONObject
from codexteam.core.text import clean_line, count_of
from codexteam.views.layout import columns, print_wrapped
from codexteam.views.streams import OutputStreams

_HEAD = ("host", "state", "slots", "weight", "engine", "runtimes")
_STYLES = {HostState.UP: "green", HostState.DOWN: "red"}


def print_cluster(output: OutputStreams, status: ClusterStatus) -> int:
    """Print all hosts; give the exit code."""
    if output.json_lines:
        records = [_record(host) for host in status.hosts]
        output.records(records, "cluster.listed", exit_code=status.exit_code)
        return status.exit_code
    console = output.console()
    rows = [[Text(word, style="dim") for word in _HEAD], *(_row(host) for host in status.hosts)]
    for line in columns(rows, right={2, 3}):
        print_wrapped(console, line)
    for text in _notes(status):
        console.print()
        print_wrapped(console, Text(text), indent=2)
    at_work = [*_at_work(status)]
    if at_work:
        console.print()
        for line in columns(at_work, right=()):
            print_wrapped(console, line)
    return status.exit_code


def _row(host: HostStatus) -> list[Text]:
    slots = f"{host.busy}/{host.slots}" if host.slots is not None else f"{host.busy}"
    weight = f"{host.weight:g}" if host.weight is not None else "-"
    if host.state is HostState.DOWN and not host.version:
        slots = f"-/{host.slots}" if host.slots is not None else "-"
    return [
        Text(clean_line(host.name)),
        Text(host.state.value, style=_STYLES.get(host.state, "yellow")),
        Text(slots),
        Text(weight),
        Text(clean_line(host.version) or "-"),
        Text(", ".join(map(clean_line, host.runtimes)) or "-"),
    ]


def _notes(status: ClusterStatus) -> Iterator[str]:
    for host in status.hosts:
        name = clean_line(host.name)
        if host.problem:
            yield f"{name}: {clean_line(host.problem)}" + (f"\n-> {clean_line(host.hint)}" if host.hint else "")
        elif host.drained_by:
            finish = f"; at work there until it is done: {count_of(host.busy, 'agent')}" if host.busy else ""
            again = "" if host.drained_by == "the configuration" else f"\n-> codexteam cluster undrain {name}"
            yield f"{name}: no new agent starts there, by {host.drained_by}{finish}{again}"
        others = len(host.agents) - host.busy
        if others:
            yield f"{name}: {others} {'sandbox' if others == 1 else 'sandboxes'} of other repositories beside these slots"
    for gone in status.unknown_drained:
        yield f"{clean_line(gone)}: drained, and no host is called so\n-> codexteam cluster undrain {clean_line(gone)}"


def _at_work(status: ClusterStatus) -> Iterator[list[Text]]:
    for host in status.hosts:
        for run_id, agents in groupby((agent for agent in host.agents if agent.is_here), key=lambda one: one.run_id):
            for agent in agents:
                run = f"run {clean_line(run_id)}" if run_id else ""
                yield [Text(clean_line(host.name)), Text(clean_line(agent.name)), Text(run)]


def _record(host: HostStatus) -> JSONObject:
    return {
        "type": "host",
        "name": host.name,
        "where": host.where,
        "state": host.state.value,
        "slots": host.slots,
        "busy": host.busy,
        "weight": host.weight,
        "version": host.version,
        "runtimes": [*host.runtimes],
        "drained_by": host.drained_by,
        "problem": host.problem,
        "hint": host.hint,
        "agents": [
            {"agent": one.name, "run": one.run_id, "state_dir": one.state_dir, "here": one.is_here}
            for one in host.agents
        ],
    }


def print_drained(output: OutputStreams, found: Drained) -> None:
    """Print what became of a wish to drain a host, or to end that."""
    if output.json_lines:
        output.record(
            {"type": "host.drained", "name": found.name, "draining": found.draining, "changed": found.changed}
        )
        return
    name = clean_line(found.name)
    match found.draining, found.changed:
        case True, True:
            output.write(
                f"{name}: no new agent starts there; those at work finish. End it: codexteam cluster undrain {name}\n"
            )
        case True, False:
            output.write(f"{name} is drained already\n")
        case False, True:
            output.write(f"{name}: agents start there again\n")
        case _:
            output.write(f"{name} is not drained\n")
