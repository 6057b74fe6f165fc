"""Where a run is shown while it is active."""

from collections.abc import Callable
from typing import Protocol

from codexteam.app.project import Project
from codexteam.core.ids import RunId
from codexteam.ports.clock import Clock
from codexteam.ports.reporter import Reporter
from codexteam.report.progress import Progress


class RunDisplay(Protocol):
    """What the command line hands down, so that a run can be watched. None of it raises where its reader has gone."""

    @property
    def for_programs(self) -> bool:
        """Whether programs read what is reported, whose last line says how it ended."""
        ...

    @property
    def can_ask(self) -> bool:
        """Whether a person is at both ends and can be asked."""
        ...

    def note(self, text: str) -> None:
        """Show a line to a person before, between or after what is reported."""
        ...

    def alert(self, text: str, method: str) -> None:
        """Draw a person's attention to the terminal, if the run is shown on one; `method` is that of Codex's `[tui]`."""
        ...

    def reporter(
        self,
        progress: Progress,
        project: Project,
        run_id: RunId,
        *,
        clock: Clock,
        blocked: Callable[[float | None], None],
    ) -> Reporter:
        """Begin to show a run of a project; its facts also go into `progress`.

        `blocked` is called, from any thread, with since when the run waits for a reader of what is shown, and with None
        once it continues.
        """
        ...

    def broke_off(self, project: Project, run_id: RunId) -> None:
        """Remember the run of a session that ends with an error; what is left of it is shown when all has ended."""
        ...

    def load_ahead(self) -> None:
        """Load what is needed when the run ends; called in a thread, and not at all in a run without agents."""
        ...
