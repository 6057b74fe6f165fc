"""What `eval` prints: a line for each trial while it works, then tables of arms and differences; or JSON Lines."""

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.text import Text

from codexteam.app.evaluation.command import EvalResult
from codexteam.app.evaluation.grading import CheckedTask
from codexteam.app.evaluation.mine import Mined
from codexteam.core.eval_statistics import Interval, smallest_paired_difference
from codexteam.core.eval_task import Arm, EvalSuite, EvalTask
from codexteam.core.eval_trials import TrialRecord, TrialVerdict
from codexteam.core.ids import JSONObject
from codexteam.core.text import clean_line, count_of
from codexteam.report.eval_report import ArmComparison, ArmFigures, ArmRate, EvalReport, trial_json
from codexteam.views.formatting import credit_count, foreign, in_words, money, tokens
from codexteam.views.layout import columns, print_wrapped
from codexteam.views.report.figures import duration
from codexteam.views.streams import OutputStreams

_HEAD = ("arm", "resolved", "rate", "95 %", "usd each", "tokens each", "turns each", "median")
#: Tasks that are named where some are left out.
_MOST_NAMED = 10


@dataclass(slots=True)
class EvalView:
    """Shows an evaluation at work."""

    output: OutputStreams
    quiet: bool = False

    def checked(self, task: EvalTask, found: CheckedTask) -> None:
        """Say of a task that it cannot be evaluated."""
        if found.problem and not self.output.json_lines:
            self.output.warn(f"warning: task {task.name}: {clean_line(found.problem)}")

    def done(self, record: TrialRecord, count: int, total: int) -> None:
        """Print a trial."""
        if self.output.json_lines:
            self.output.record({"type": "trial", **trial_json(record)})
            self.output.out.flush()
        elif not self.quiet:
            why = f": {clean_line(record.reason)}" if record.reason else ""
            self.output.note(f"{count}/{total} {record.key} {in_words(record.verdict.value)}{why}")

    def stopping(self) -> None:
        """Say what happens after a signal."""
        self.output.note("runs at work end first; a second signal cuts them off; the same command continues all of it")


def show_result(output: OutputStreams, result: EvalResult, page: Path) -> int:
    """Print what an evaluation came to; return its exit code."""
    report = result.report
    if output.json_lines:
        output.record({**report.as_json(), "folder": str(result.folder), "page": str(page)})
        output.record({"type": "eval.completed", "count": len(report.records), "exit_code": result.exit_code})
        return result.exit_code
    console = output.console()
    for line in columns([_dim(_HEAD), *map(_arm_row, report.arms)], right={1, 2, 4, 5, 6, 7}):
        console.print(line, soft_wrap=True)
    for words in _lines(report):
        print_wrapped(console, foreign(words), indent=2)
    if len(report.records) < report.total:
        again = "the same command continues it"
        console.print(foreign(f"{len(report.records)} of {report.total} trials are done; {again}"), soft_wrap=True)
    console.print(foreign(f"page: {page}"), soft_wrap=True)
    return result.exit_code


def _dim(names: Iterable[str]) -> list[Text]:
    return [Text(name, style="dim") for name in names]


def _arm_row(arm: ArmFigures) -> list[Text]:
    each = arm.per_resolved
    return [
        foreign(arm.arm.name),
        Text(f"{arm.all.resolved}/{arm.all.trials}"),
        Text(percent(arm.all.rate)),
        Text(interval_words(arm.all.interval)),
        Text(amount_words("usd", each["usd"])),
        Text(amount_words("tokens", each["tokens"])),
        Text(amount_words("turns", each["turns"])),
        Text(duration(arm.median_seconds)),
    ]


def percent(rate: float) -> str:
    """Return a share in percent."""
    return f"{100 * rate:.1f} %"


def interval_words(found: Interval) -> str:
    """Return an interval in percent."""
    return f"{100 * found.low:.0f} to {100 * found.high:.0f} %"


def amount_words(unit: str, amount: float | None) -> str:
    """Return what was spent; `-` where it is unknown, or there is nothing that it could be for."""
    if amount is None:
        return "-"
    match unit:
        case "usd":
            return money(amount)
        case "tokens":
            return tokens(round(amount))
        case "credits":
            return credit_count(amount)
        case "wall_seconds":
            return duration(amount)
        case _:
            return f"{amount:.1f}"


def _lines(report: EvalReport) -> Iterable[str]:
    for arm in report.arms:
        if len(arm.pass_at) > 1:
            yield f"{arm.arm.name}: {chance_words(arm)}"
        if arm.regression_known:
            yield f"{arm.arm.name}: what passed before fails after {arm.regressed} of {count_of(arm.regression_known, 'trial')}"
        others = [
            f"{count} {in_words(verdict.value)}" for verdict, count in arm.verdicts.items() if _is_told(verdict, count)
        ]
        if others:
            yield f"{arm.arm.name}: {', '.join(others)}"
        if arm.retries:
            yield f"{arm.arm.name}: continued {count_of(arm.retries, 'time')} after failures of services or sandboxes"
        if arm.verdicts.get(TrialVerdict.INFRASTRUCTURE):
            yield f"{arm.arm.name} without infrastructure failures: {rate_words(arm.without_infrastructure)}"
    for comparison in report.comparisons:
        yield comparison_words(comparison)
    yield from left_out_lines(report.left_out)


def _is_told(verdict: TrialVerdict, count: int) -> bool:
    return bool(count) and verdict not in {TrialVerdict.RESOLVED, TrialVerdict.NOT_RESOLVED}


def chance_words(arm: ArmFigures) -> str:
    """Say how often one of several trials resolves a task, and how often all of them do."""
    at = ", ".join(f"pass@{k} {percent(value)}" for k, value in enumerate(arm.pass_at, start=1))
    hat = ", ".join(f"pass^{k} {percent(value)}" for k, value in enumerate(arm.pass_hat, start=1))
    return f"{at}; {hat}"


def rate_words(rate: ArmRate) -> str:
    """Return a rate with its interval."""
    return f"{rate.resolved}/{rate.trials}, {percent(rate.rate)} ({interval_words(rate.interval)})"


def comparison_words(found: ArmComparison) -> str:
    """Say how two arms differ, and what could have been seen."""
    pair = found.found
    smallest = "none" if found.smallest is None else f"{100 * found.smallest:.0f} points"
    return (
        f"{found.first} - {found.second}: {100 * pair.difference:+.1f} points (95 %: {100 * pair.interval.low:+.0f} to "
        f"{100 * pair.interval.high:+.0f}), p = {found.p_value:.3g}, {pair.method}, {count_of(pair.tasks, 'task')}: "
        f"{found.words}; the smallest difference that would be seen with 80 %: {smallest}"
    )


def left_out_lines(left_out: Sequence[tuple[str, str]]) -> Iterable[str]:
    """Name what is in the suite and in no figure."""
    for name, why in left_out[:_MOST_NAMED]:
        yield f"left out: {name}: {why}"
    if len(left_out) > _MOST_NAMED:
        yield f"left out: {len(left_out) - _MOST_NAMED} more"


@dataclass(slots=True)
class MiningView:
    """Shows commits as they are tried."""

    output: OutputStreams
    quiet: bool = False

    def tried(self, commit: str, title: str, what: str) -> None:
        """Print what came of a commit."""
        if self.output.json_lines:
            self.output.record({"type": "commit", "commit": commit, "title": title, "outcome": what})
            self.output.out.flush()
        elif not self.quiet:
            self.output.note(f"{commit[:10]} {clean_line(title)[:60]}: {clean_line(what)}")


def show_mined(output: OutputStreams, found: Mined) -> None:
    """Print what came of a history."""
    if output.json_lines:
        tasks: list[JSONObject] = [{"type": "task", "task": name} for name in found.kept]
        tasks.append(
            {
                "type": "mined",
                "folder": str(found.folder),
                "commits": found.looked_at,
                "candidates": found.candidates,
                "kept": len(found.kept),
                "dropped": dict(found.dropped),
            }
        )
        output.records(tasks, "eval.mined")
        return
    console = output.console()
    counts = f"{count_of(found.looked_at, 'commit')}, {count_of(found.candidates, 'candidate')}, {len(found.kept)} kept"
    console.print(foreign(counts), soft_wrap=True)
    for why, count in found.dropped:
        console.print(foreign(f"  {count:4}  {why}"), soft_wrap=True)
    if found.kept:
        console.print(foreign(f"tasks: {found.folder}"), soft_wrap=True)
        again = f"next    codexteam eval {shlex.quote(str(found.folder))} --budget AMOUNT"
        console.print(foreign(again, style="bold"), soft_wrap=True)


def show_suite(output: OutputStreams, suite: EvalSuite, arms: Sequence[Arm], repeats: int) -> None:
    """Print what would be evaluated, and what it could show."""
    smallest = smallest_paired_difference(len(suite.tasks), 0.3)
    if output.json_lines:
        found: list[JSONObject] = [
            {"type": "task", "task": task.name, "commands": list(task.hidden.commands)} for task in suite.tasks
        ]
        found += [{"type": "left_out", "task": name, "reason": why} for name, why in suite.left_out]
        trials = len(suite.tasks) * len(arms) * repeats
        output.records(found, "eval.planned", trials=trials, smallest_detectable=smallest)
        return
    console = output.console()
    for task in suite.tasks:
        console.print(foreign(task.name), soft_wrap=True)
    for line in left_out_lines(suite.left_out):
        print_wrapped(console, foreign(line), indent=2)
    trials = len(suite.tasks) * len(arms) * repeats
    names = ", ".join(arm.name for arm in arms)
    console.print(foreign(f"{suite.kind}: {count_of(len(suite.tasks), 'task')}, {count_of(trials, 'trial')} ({names})"))
    text = "so few tasks show no difference between two arms reliably"
    if smallest is not None:
        seen = f"{100 * smallest:.0f} points or more"
        text = f"if two arms differ on 30 % of the tasks, once each, a difference of {seen} is seen with 80 %"
    print_wrapped(console, foreign(text), indent=2)
