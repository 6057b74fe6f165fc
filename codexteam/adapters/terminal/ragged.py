"""Tables without the spaces that fill their lines up: in a file or a pipe these are noise."""

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.segment import Segment


class Ragged:
    """A renderable whose lines end with their last character where the output is no terminal."""

    def __init__(self, inner: RenderableType) -> None:
        """Wrap what is printed."""
        self._inner = inner

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Give the lines."""
        if console.is_terminal:
            yield self._inner
            return
        for line in console.render_lines(self._inner, options, pad=False):
            kept = list(line)
            while kept and not kept[-1].text.rstrip(" "):
                kept.pop()
            if kept:
                last = kept.pop()
                kept.append(Segment(last.text.rstrip(" "), last.style))
            yield from kept
            yield Segment.line()
