"""How a comparison with peers is shown: a Markdown table, and a picture of its bars as SVG."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

_NAME_WIDTH: Final = 170
_BAR_WIDTH: Final = 330
_ROW_HEIGHT: Final = 26
_OWN_COLOUR: Final = "#0b7285"
_PEER_COLOUR: Final = "#adb5bd"


@dataclass(frozen=True, slots=True)
class Figures:
    """What one peer took in one round."""

    wall_ratio: float
    """Over the critical path."""
    cpu_ms_a_turn: float
    mb_an_agent: float


@dataclass(frozen=True, slots=True)
class Compared:
    """A peer's medians, and its ratios to this program."""

    name: str
    figures: Figures
    wall_over_ours: float
    cpu_over_ours: float


def markdown(found: Sequence[Compared], conditions: str, left_out: Sequence[str] = ()) -> str:
    """Write the table, the conditions above it, and below who is missing."""
    lines = [
        f"{conditions}.",
        "",
        "| | wall over critical path | CPU a turn | memory an agent | wall over ours | CPU over ours |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for each in found:
        own = each.figures
        lines.append(
            f"| {each.name} | {own.wall_ratio:.2f} | {own.cpu_ms_a_turn:.1f} ms | {own.mb_an_agent:.2f} MB "
            f"| {each.wall_over_ours:.2f} | {each.cpu_over_ours:.2f} |"
        )
    if left_out:
        lines += ["", *(f"Not run: {line}." for line in left_out)]
    return "\n".join(lines) + "\n"


def picture(found: Sequence[Compared], conditions: str) -> str:
    """Draw a bar for each, of its wall time and of its processor time; each panel has a scale of its own."""
    height = _ROW_HEIGHT * len(found) + 40
    panels = (
        ("wall time over the critical path", [each.figures.wall_ratio for each in found], "{:.2f}"),
        ("CPU ms a turn", [each.figures.cpu_ms_a_turn for each in found], "{:.1f}"),
    )
    width = _NAME_WIDTH + _BAR_WIDTH + 90
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height * len(panels) + 24}" '
        'font-family="sans-serif" font-size="13">',
        f"<title>{escape(conditions)}</title>",
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    names = [each.name for each in found]
    for number, (title, values, form) in enumerate(panels):
        parts += _panel(title, names, values, form, top=number * height)
    parts.append(f'<text x="8" y="{height * len(panels) + 12}" font-size="10">{escape(conditions)}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _panel(title: str, names: Sequence[str], values: Sequence[float], form: str, *, top: int) -> list[str]:
    most = max(values) or 1.0
    parts = [f'<text x="8" y="{top + 22}" font-weight="bold">{escape(title)}</text>']
    for place, (name, value) in enumerate(zip(names, values, strict=True)):
        y = top + 34 + place * _ROW_HEIGHT
        length = max(1.0, value / most * _BAR_WIDTH)
        colour = _PEER_COLOUR if place else _OWN_COLOUR
        parts += [
            f'<text x="8" y="{y + 14}">{escape(name)}</text>',
            f'<rect x="{_NAME_WIDTH}" y="{y}" width="{length:.1f}" height="{_ROW_HEIGHT - 8}" fill="{colour}"/>',
            f'<text x="{_NAME_WIDTH + length + 6:.1f}" y="{y + 14}">{form.format(value)}</text>',
        ]
    return parts
