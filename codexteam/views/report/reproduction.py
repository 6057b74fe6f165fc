"""How to see for oneself what a report says."""

import shlex

from codexteam.report.run_report import RunReport


def reproduction(report: RunReport, *, elsewhere: bool = False) -> list[str]:
    """Return shell lines that check the run's result in a work tree of its own.

    `elsewhere` is whether they are read on other machines, where several repositories lie beside each other.
    """
    run = report.run
    commit = run.state.landed or run.state.tip
    if commit is None:
        return []
    if run.state.rules.repositories:
        return _in_several(report, elsewhere=elsewhere)
    folder = f"../check-{run.record.run_id}"
    return [
        f"git worktree add --detach {shlex.quote(folder)} {commit}",
        f"cd {shlex.quote(folder)}",
        *report.commands,
        f"git log --oneline {run.record.base}..{commit}",
    ]


def _in_several(report: RunReport, *, elsewhere: bool) -> list[str]:
    run = report.run
    listed = run.record.settings.get("repositories")
    lines = [f"mkdir ../check-{run.record.run_id}", f"cd ../check-{run.record.run_id}"]
    for each in listed if isinstance(listed, list) else []:
        match each:
            case {"name": str(name), "path": str(path), "head": str(head)}:
                at = run.branch if name in run.state.landed_repositories and run.branch else head
                where = f"../{name}" if elsewhere else shlex.quote(path)
                lines.append(f'git -C {where} worktree add --detach "$PWD"/{name} {at}')
            case _:
                continue
    return [*lines, *(f"({each})" if each.startswith("cd ") else each for each in report.commands)]
