"""Runs a property over many inputs: one short round, or round after round for `CODEXTEAM_FUZZ_SECONDS`.

A long run counts its inputs into `CODEXTEAM_FUZZ_REPORT`, one JSON line each minute, so that a run that was cut short has
its count too.
"""

import json
import os
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.strategies import SearchStrategy

Input = TypeVar("Input")

SECONDS = float(os.environ.get("CODEXTEAM_FUZZ_SECONDS", "0"))
_REPORT = os.environ.get("CODEXTEAM_FUZZ_REPORT", "")
_SEED = int(os.environ.get("CODEXTEAM_FUZZ_SEED", "0"))
_ROUND = 500
_REPORT_SECONDS = 60.0

#: For each file of targets: the suite's limit of time holds for the short form alone.
TIMEOUT = pytest.mark.timeout(SECONDS + 600 if SECONDS else 120)


def fuzz(
    name: str, inputs: SearchStrategy[Input], property_of: Callable[[Input], str | None], *, short: int
) -> Counter[str]:
    """Hold a property against inputs; it gives a word for what it met, so that a fuzzer that finds nothing shows.

    Every round has its own seed, counted from `CODEXTEAM_FUZZ_SEED`; a failure names the input, made small.
    """
    met: Counter[str] = Counter()
    began = reported = time.monotonic()
    rounds = 0

    def once(value: Input) -> None:
        met[property_of(value) or "fine"] += 1

    while True:
        run = given(inputs)(once)
        limits = settings(
            max_examples=_ROUND if SECONDS else short,
            deadline=None,
            database=None,
            derandomize=False,
            phases=[Phase.generate, Phase.target, Phase.shrink],
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        )
        seed(_SEED + rounds)(limits(run))()
        rounds += 1
        now = time.monotonic()
        over = now - began >= SECONDS
        if SECONDS and (over or now - reported >= _REPORT_SECONDS):
            reported = now
            _report(name, now - began, rounds, met)
        if over:
            return met


def _report(name: str, seconds: float, rounds: int, met: Counter[str]) -> None:
    line = {"target": name, "seconds": round(seconds), "rounds": rounds, "inputs": met.total(), "met": dict(met)}
    if _REPORT:
        with Path(_REPORT).open("a") as file:
            file.write(json.dumps(line) + "\n")


def require(holds: bool, why: str) -> None:
    """Fail without the runner's comparison of both sides, which takes minutes on long texts while inputs are made small.

    Raises:
        AssertionError: it does not hold.
    """
    if not holds:
        raise AssertionError(why)
