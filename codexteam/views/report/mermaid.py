"""The plan and the timeline as Mermaid, which GitHub draws in issues and pull requests."""

import re
from collections.abc import Sequence

from codexteam.core.text import clean_line
from codexteam.report.run_report import RunReport
from codexteam.report.task_story import TaskStory
from codexteam.report.timeline import TimelineBar

#: What Mermaid reads as its own, and what could end a label.
_NOT_IN_LABELS = re.compile(r"[\"#;:`<>{}\[\]()|\\%&]")
#: Mermaid refuses longer texts.
_MOST_CHARS = 50_000
_LABEL_CHARS = 60
_STYLES = {
    "merged": "fill:#d8f3e3,stroke:#16794a,color:#0b3d25",
    "failed": "fill:#fde2e0,stroke:#c4302b,color:#5f1512",
    "waits": "fill:#fdf1d3,stroke:#9a6700,color:#4d3400",
    "other": "fill:#eef1f4,stroke:#5b6570,color:#1b1f24",
}
_CLASSES = {"merged": "merged", "failed": "failed", "blocked": "failed", "waits": "waits", "asking": "waits"}


def render_mermaid(report: RunReport) -> str:
    """Return two diagrams, each in a block of its own, as Markdown has them."""
    return f"{_block(plan_lines(report.stories))}\n{_block(_gantt_lines(report))}"


def plan_lines(stories: Sequence[TaskStory]) -> list[str]:
    """Return the plan's graph; tasks that have no room are counted."""
    lines = ["flowchart LR", *(f"  classDef {name} {style}" for name, style in _STYLES.items())]
    left = _MOST_CHARS - 2_000
    for number, story in enumerate(stories):
        task = story.known.task
        # ids of tasks may be of any kind in a user's plan; Mermaid's own are letters and digits
        name = _node(task.id, stories)
        added = [f'  {name}["{_label(f"{task.id} {task.title}")}"]:::{_CLASSES.get(story.word, "other")}']
        added += [f"  {_node(dep, stories)} --> {name}" for dep in task.deps]
        left -= sum(len(line) + 1 for line in added)
        if left < 0:
            lines.append(f'  more["and {len(stories) - number} more"]')
            break
        lines += added
    return lines


def _gantt_lines(report: RunReport) -> list[str]:
    """Return a lane for each agent and group, from its beginning to its end, in seconds of work."""
    head = ["gantt", "  dateFormat x", "  axisFormat %H:%M:%S", "  title Time at work"]
    critical = {step.lane for step in report.path}
    lanes = []
    left = _MOST_CHARS - 500
    for lane in report.timeline.lanes:
        bars = [(lane.start_seconds, lane.end_seconds)] if lane.purpose else _together(lane.bars)
        mark = "crit, " if lane.name in critical else ""
        added = [f"  section {_label(lane.name)}"]
        for begin, end in bars:
            added.append(f"  {_label(lane.name)} :{mark}{round(begin * 1000)}, {max(1, round((end - begin) * 1000))}ms")
        left -= sum(len(line) + 1 for line in added)
        if left < 0:
            break
        lanes += added
    return [*head, *lanes]


def _together(bars: Sequence[TimelineBar]) -> list[tuple[float, float]]:
    found: list[tuple[float, float]] = []
    for bar in bars:
        if found and bar.start_seconds - found[-1][1] < 0.05:
            found[-1] = (found[-1][0], bar.end_seconds)
        else:
            found.append((bar.start_seconds, bar.end_seconds))
    return found


def _node(task_id: str, stories: Sequence[TaskStory]) -> str:
    return f"n{next((number for number, each in enumerate(stories) if each.known.task.id == task_id), 0)}"


def _label(text: str) -> str:
    """Return a text in which nothing is Mermaid's: it is shown, and cannot add a line, a link or a style."""
    line = _NOT_IN_LABELS.sub(" ", clean_line(text))
    line = " ".join(line.split())
    return line if len(line) <= _LABEL_CHARS else f"{line[: _LABEL_CHARS - 1]}…"


def _block(lines: Sequence[str]) -> str:
    return "```mermaid\n" + "\n".join(lines) + "\n```\n"
