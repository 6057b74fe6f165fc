"""Runs a plan's steps in a set-up's sandbox, in order, until they are done or one of them fails.

What a step prints goes into the set-up's log, secrets taken out. A step may hang, print without end or fill the disk:
each ends in one `SetupFailed` that names the step, what happened, and where the log is.
"""

import re
import shlex
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

from codexteam.core.ids import JSONObject
from codexteam.core.text import clean, clean_line
from codexteam.environment.plan import SETUP_USER_HOME, SetupPlan, SetupStep, TestCommand, Toolchain
from codexteam.ports.clock import Clock
from codexteam.ports.environments import SetupSandbox, StepOutcome
from codexteam.ports.sandbox import WORKSPACE, Command, CommandResult
from codexteam.run.command_environments import SetupFailed
from codexteam.system.cancellation import together

#: What is kept in the log of what one step prints.
_STEP_OUTPUT_BYTES = 1 << 20
#: What a failure shows of a step's last words.
_TAIL_CHARS = 2_000
_SMALL_SECONDS = 60.0
#: A warm-up is a convenience: it may not take what the steps need.
_WARM_UP_SECONDS = 900.0
_NAMED_FILES = 5
_DISK_FULL = re.compile(rb"No space left on device|ENOSPC|Disk quota exceeded")


@dataclass(frozen=True, slots=True)
class SetupDone:
    """All steps that must succeed did."""

    steps: tuple[StepOutcome, ...]
    notices: tuple[str, ...]


@dataclass(slots=True)
class SetupLog:
    """What the steps of one set-up printed; `write` replaces the file with the whole text and gives its path."""

    write: Callable[[str], Path | None]
    redact: Callable[[str], str]
    path: str = ""
    _parts: list[str] = field(default_factory=list)

    def add(self, text: str) -> None:
        """Add what happened, and have the file say so."""
        self._parts.append(clean(self.redact(text)))
        written = self.write("\n".join(self._parts) + "\n")
        self.path = str(written) if written is not None else ""

    def shown(self, output: bytes) -> str:
        """Return the end of what a command printed, as a failure shows it."""
        text = clean(self.redact(output.decode("utf-8", "replace"))).rstrip()
        return text if len(text) <= _TAIL_CHARS else "..." + text[-_TAIL_CHARS:]


@dataclass(slots=True)
class SetupSteps:
    """One set-up under way."""

    sandbox: SetupSandbox
    plan: SetupPlan
    clock: Clock
    limit_seconds: float
    """For all of it together."""
    log: SetupLog
    report: Callable[[str, JSONObject], None]
    """Reports `environment.step`."""
    _outcomes: list[StepOutcome] = field(default_factory=list)
    _notices: list[str] = field(default_factory=list)
    _until_seconds: float = 0.0
    _begun: int = 0

    async def run(self) -> SetupDone | SetupFailed:
        """Run all steps, look whether the toolchains are there, and warm the test commands up.

        Raises:
            SandboxLost: the sandbox went away.
        """
        self._until_seconds = self.clock.monotonic_seconds() + self.limit_seconds
        await self._quietly(f"mkdir -p {SETUP_USER_HOME}")
        for group in _groups(self.plan.needs.steps):
            failures = [failed for failed in await together(*map(self._step, group)) if failed is not None]
            if failures:
                return failures[0]
        self._notices += await self._missing_toolchains()
        await self._look_for_changes()
        for test in self.plan.needs.test_commands:
            if test.warm_up:
                await self._warm_up(test)
        return SetupDone(tuple(self._outcomes), tuple(dict.fromkeys(self._notices)))

    async def _step(self, step: SetupStep) -> SetupFailed | None:
        if step.needs_root and not self.sandbox.has_root:
            await self._leave_out(step)
            return None
        self._begun += 1
        line = clean_line(self.log.redact(first_line(step.command)))
        total = len(self.plan.needs.steps)
        self.report("environment.step", {"number": self._begun, "of": total, "command": line, "source": step.source})
        left_seconds = self._until_seconds - self.clock.monotonic_seconds()
        if left_seconds <= 0:
            return self._failed(step, f"the {self.limit_seconds:g} s that setup_seconds allows were over before", b"")
        result = await self.sandbox.run(command_of(step, timeout_seconds=left_seconds))
        self._keep(step, result)
        if result.ok:
            return None
        why = self._why(result)
        if step.optional and not result.timed_out:
            self._notices.append(f"{step.source}: `{line}` {why}; the environment is built without it")
            return None
        return self._failed(step, why, result.output, await self._missing_toolchains())

    async def _leave_out(self, step: SetupStep) -> None:
        """Say what a step for root would have installed that is not there."""
        line = first_line(step.command)
        self._outcomes.append(StepOutcome(line, step.source, None, 0.0, "left out: it needs root"))
        self.log.add(f"# {step.source}\n$ {step.command}\n[left out: it needs root, which this sandbox has not]")
        wanted = self.plan.needs.system_packages
        asked = await self._quietly(_MISSING_PACKAGES, *wanted) if wanted else None
        gone = asked.output.decode("utf-8", "replace").split() if asked is not None and asked.ok else list(wanted)
        if gone:
            self._notices.append(
                f"{step.source} installs packages of the distribution, which this sandbox cannot: "
                f"{' '.join(gone)}; install them on this machine, or use an image that has them"
            )

    def _keep(self, step: SetupStep, result: CommandResult) -> None:
        code = result.exit_code if result.signal is None else 128 + result.signal
        note = "" if result.ok else self._why(result)
        ended = None if result.timed_out else code
        line = clean_line(self.log.redact(first_line(step.command)))
        self._outcomes.append(StepOutcome(line, step.source, ended, round(result.wall_seconds, 3), note))
        self._write(f"{step.source}\n$ {step.command}", result)

    def _write(self, what: str, result: CommandResult) -> None:
        how = f"exit code {result.exit_code}" if result.exit_code is not None else self._why(result)
        output = result.output.decode("utf-8", "replace")
        self.log.add(f"# {what}\n{output}\n[{how} after {result.wall_seconds:.1f} s]\n")

    def _why(self, result: CommandResult) -> str:
        if _DISK_FULL.search(result.output):
            return "filled the disk of its sandbox: make room, or raise workspace_bytes in [codexteam.sandbox.limits]"
        if result.killed_for_output:
            return f"printed {result.output_bytes:,} bytes, more than a set-up may, and was killed"
        if result.timed_out:
            return (
                f"did not end within the {self.limit_seconds:g} s that setup_seconds in [codexteam.sandbox] allows "
                "for a set-up"
            )
        if result.signal is not None:
            return f"was killed by signal {result.signal}, as for want of memory{_noted(result)}"
        return f"ended with exit code {'unknown' if result.exit_code is None else result.exit_code}{_noted(result)}"

    def _failed(self, step: SetupStep, why: str, output: bytes, missing: Sequence[str] = ()) -> SetupFailed:
        line = clean_line(self.log.redact(first_line(step.command)))
        reason = f"the set-up's step `{line}` ({step.source}) {why}"
        return SetupFailed(reason, step.source, self.log.shown(output), self.log.path, tuple(missing))

    async def _missing_toolchains(self) -> list[str]:
        """Return a line for each toolchain whose programs are not found: which, who asks for it, what to do."""
        programs = [program for toolchain in self.plan.needs.toolchains for program in toolchain.programs]
        if not programs:
            return []
        result = await self._quietly(_MISSING_PROGRAMS, *programs)
        gone = set(result.output.decode("utf-8", "replace").split()) if result.ok else set()
        return [
            _missing_words(toolchain, gone) for toolchain in self.plan.needs.toolchains if gone & {*toolchain.programs}
        ]

    async def _look_for_changes(self) -> None:
        """Say which tracked files the steps changed: those are not kept."""
        result = await self._quietly("git status --porcelain --untracked-files=no")
        changed = [line[3:] for line in result.output.decode("utf-8", "replace").splitlines() if len(line) > 3]
        if result.ok and changed:
            shown = ", ".join(clean_line(path) for path in changed[:_NAMED_FILES])
            more = f" and {len(changed) - _NAMED_FILES} more" if len(changed) > _NAMED_FILES else ""
            self._notices.append(f"the set-up changed tracked files, which is not kept: {shown}{more}")

    async def _warm_up(self, test: TestCommand) -> None:
        """Run a test command once, whatever comes of it: some runners fetch what they need only then."""
        left_seconds = self._until_seconds - self.clock.monotonic_seconds()
        if left_seconds <= 0:
            return
        self.report(
            "environment.step",
            {"number": 0, "of": 0, "command": clean_line(test.command), "source": f"{test.source}, to warm it up"},
        )
        command = Command(
            ("bash", "-c", test.command),
            cwd=place(test.folder),
            timeout_seconds=min(left_seconds, _WARM_UP_SECONDS),
            output_limit_bytes=_STEP_OUTPUT_BYTES,
        )
        self._write(f"{test.source}, to warm it up\n$ {test.command}", await self.sandbox.run(command))

    async def _quietly(self, line: str, *words: str) -> CommandResult:
        return await self.sandbox.run(Command(("sh", "-c", line, "sh", *words), timeout_seconds=_SMALL_SECONDS))


#: Prints those of its arguments that are not installed packages; fails where nobody can say.
_MISSING_PACKAGES = (
    'command -v dpkg >/dev/null || exit 1; for each in "$@"; do dpkg -s "$each" >/dev/null 2>&1 || echo "$each"; done'
)


#: Prints those of its arguments that are not programs.
_MISSING_PROGRAMS = 'for each in "$@"; do command -v "$each" >/dev/null 2>&1 || echo "$each"; done'


def _missing_words(toolchain: Toolchain, gone: Collection[str]) -> str:
    programs = " and ".join(f"`{program}`" for program in toolchain.programs if program in gone)
    wanted = f"{toolchain.ecosystem.value} {toolchain.version}".strip()
    asks = f", which {toolchain.source} asks for" if toolchain.source else ""
    todo = toolchain.install or "install it on this machine, or name an image that has it in [codexteam.sandbox]"
    return clean_line(f"the toolchain {wanted}{asks} is missing: there is no {programs}; {todo}")


def command_of(step: SetupStep, *, timeout_seconds: float) -> Command:
    """Return the command that runs a step: its script is written to a file, which its shell is given."""
    words = " ".join(map(_shell_word, shlex.split(step.shell)))
    line = f'script=$(mktemp) && cat > "$script" && chmod 755 "$script" && exec {words} < /dev/null'
    return Command(
        ("sh", "-c", line),
        cwd=place(step.folder),
        environment=dict(step.variables),
        stdin=step.command.encode("utf-8", "surrogateescape") + b"\n",
        timeout_seconds=timeout_seconds,
        output_limit_bytes=_STEP_OUTPUT_BYTES,
    )


def _shell_word(word: str) -> str:
    return '"$script"'.join(shlex.quote(part) if part else "" for part in word.split("{0}"))


def place(folder: str) -> str:
    """Return where something of a folder of the repository runs."""
    return f"{WORKSPACE}/{folder}" if folder else WORKSPACE


def first_line(command: str) -> str:
    """Return a command on one line, as people get to see it."""
    first, _, rest = command.strip().partition("\n")
    return f"{first} ..." if rest else first


def _groups(steps: Sequence[SetupStep]) -> Iterator[list[SetupStep]]:
    """Return what runs at the same time: steps in a row of one group; others alone."""
    for _, members in groupby(enumerate(steps), key=lambda each: each[1].group or each[0]):
        yield [step for _, step in members]


def _noted(result: CommandResult) -> str:
    return f" ({clean_line(result.note)})" if result.note else ""
