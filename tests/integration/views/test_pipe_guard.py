"""A reader that stops reading is noticed while a write waits for it."""

import os
import threading
import time

from codexteam.ports.reporter import RunEvent
from codexteam.views.pipe_guard import ReaderWatch, Steady
from codexteam.views.plain import JsonLines


def test_a_write_that_waits_is_told_of_until_it_is_through() -> None:
    reading, writing = os.pipe()
    told: list[float | None] = []
    changed = threading.Condition()

    def blocked(since: float | None) -> None:
        with changed:
            told.append(since)
            changed.notify()

    with os.fdopen(writing, "w", encoding="ascii") as out, os.fdopen(reading, encoding="ascii") as lines:
        reporter = Steady(JsonLines(out, "r"), out, ReaderWatch(blocked, time.monotonic))
        reporter.report(RunEvent("notice", 1.0, {"text": "fits"}))
        many = RunEvent("notice", 2.0, {"text": "x" * 200_000})
        writer = threading.Thread(target=reporter.report, args=(many,))
        writer.start()
        with changed:
            assert changed.wait_for(lambda: told, timeout=60)
        assert told[0] is not None
        assert [lines.readline()[-7:], len(lines.readline()) > 200_000] == ['fits"}\n', True]
        writer.join()
        with changed:
            assert changed.wait_for(lambda: len(told) == 2, timeout=60)
        assert told[1] is None
        reporter.close()
