"""What a run's end needs is loaded once, when an agent has had a turn."""

import threading

from codexteam.app.followers import LoadingAhead
from codexteam.ports.reporter import RunEvent


def test_loading_begins_at_the_first_turn_and_once() -> None:
    loaded: list[str] = []
    done = threading.Event()
    ahead = LoadingAhead((lambda: loaded.append("scanner"), lambda: loaded.append("report"), done.set))

    ahead.report(RunEvent("agent.started", 0.0, {}))
    assert loaded == []
    for _ in range(3):
        ahead.report(RunEvent("agent.turn", 0.0, {}))
    assert done.wait(60)
    ahead.close()
    assert loaded == ["scanner", "report"]
