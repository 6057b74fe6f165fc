"""Which environment the commands of each commit of a run work in: the base's, or one of its own where manifests change.

The base's is chosen once: of the plans that the repository's files allow, the first whose set-up succeeds and in which a
gate command runs. This happens beside scouts and planning; the baseline waits for it.

Where a run works on several repositories, one of these is for each, and one for what works on all of them
(`run.environment.several_environments`).
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from codexteam.config.team import AgentEngine, engine_of
from codexteam.core import codec
from codexteam.core.base_check import has_tests
from codexteam.core.command_ending import Ending
from codexteam.core.ids import CommitId, JSONValue
from codexteam.core.paths import decode
from codexteam.core.repositories import repository_of_command
from codexteam.core.text import clean_line, count_of
from codexteam.environment.changes import may_differ
from codexteam.environment.folders import literal_prefixes
from codexteam.environment.gate_choice import gate_groups
from codexteam.environment.plan import SetupPlan, SourceKind
from codexteam.errors import CodexteamError, SurroundingsError
from codexteam.ports.environments import Environment
from codexteam.run.command_environments import Placed, SetupFailed
from codexteam.run.command_outcome import CommandOutcome
from codexteam.run.context import RunContext
from codexteam.run.environment.builder import EnvironmentBuilder, Examined
from codexteam.run.environment.setup_agent import SetupTask, agent_plan, built_script, may_help, notice
from codexteam.run.gates.ci import baseline
from codexteam.run.remembered import ChosenEnvironment, FailedSetup
from codexteam.system.cancellation import stopped

#: The repository's space in the store for what failed, by key; and for how long that counts.
_FAILURES = "failed set-ups"
_FAILURE_SECONDS = 86_400.0


@dataclass(slots=True)
class TriedPlan:
    """A plan of the base commit, and its outcome."""

    plan: SetupPlan
    key: str
    made: Environment | None
    proven: tuple[str, ...] = ()
    """Gate commands that ran in it."""
    ran: bool = False
    """Whether all that should run did."""


@dataclass(slots=True, eq=False)
class CommitEnvironments:
    """One session's. Made by `app.compose`; closed with the session."""

    context: RunContext
    builder: EnvironmentBuilder
    again: bool = False
    """Whether set-ups that failed in other runs are tried again."""
    repository: str = ""
    """Of several repositories the one that it is for: a folder of the checkout. Empty: for all that is checked out."""
    _choosing: "asyncio.Future[ChosenEnvironment] | None" = None
    _looked: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once it is known whether the base's environment is there or has to be built."""
    _newest: str = ""
    """The key that the base's commands may use so far."""
    _of_commit: "dict[CommitId, str | SetupFailed]" = field(default_factory=dict)
    _building: asyncio.Lock = field(default_factory=asyncio.Lock)
    _failed: dict[str, SetupFailed] = field(default_factory=dict)
    """Plans whose set-up failed in this session, by key."""
    _not_set_up: set[str] = field(default_factory=set)
    """What tasks write, and with which no plan works."""

    def begin(self) -> None:
        """Begin to choose the base's environment, if nobody did; who needs it waits for it."""
        if self._choosing is None:
            self._choosing = asyncio.ensure_future(self._chosen())

    @property
    def begun(self) -> bool:
        """Whether anybody needed the base's environment."""
        return self._choosing is not None

    async def close(self) -> None:
        """End what is still being built; make room where something was."""
        if self._choosing is not None:
            await stopped(self._choosing)
        if not self.builder.has_built:
            return
        try:
            gone = await self.builder.prune()
        except (CodexteamError, OSError) as error:
            text = f"unused environments could not be removed: {error}; codexteam clean removes them"
            self.context.report("notice", {"text": clean_line(text)})
            return
        if gone:
            self.context.report("notice", {"text": f"removed {count_of(len(gone), 'environment')} for age or room"})

    async def base(self, *, again: bool = False) -> ChosenEnvironment:
        """Return what the base commit's commands work in; with `again` it is chosen anew if nothing ran in it.

        Raises:
            SurroundingsError: the user's own setup script fails, or no sandbox can be started.
        """
        if again and self._choosing is not None and self._choosing.done() and not await self._is_good():
            self._choosing = None
            self.again = True
            self._failed.clear()
        self.begin()
        assert self._choosing is not None
        return await asyncio.shield(self._choosing)

    async def _is_good(self) -> bool:
        choosing = self._choosing
        if choosing is None or choosing.cancelled() or choosing.exception() is not None:
            return False
        return choosing.result().ran

    async def key_for_agent(self, commit: CommitId, paths: Sequence[str] = (), *, wait: bool = True) -> str:
        """Return the key for an agent's sandbox, whatever it writes; one that does not `wait` may work without."""
        del paths
        self.begin()
        if not wait:
            await self._looked.wait()
            assert self._choosing is not None
            if not self._choosing.done() or commit == self.context.base:
                return self._newest
        found = await self.of(commit)
        # what cannot be set up here is a failed acceptance there; its agent works in what there is
        return (await self.base()).key if isinstance(found, SetupFailed) else found

    async def places(self, commit: CommitId, commands: Sequence[str]) -> Sequence[Placed]:
        """Return the one environment of a commit, for all commands."""
        return (Placed(tuple(commands), await self.of(commit)),)

    async def of(self, commit: CommitId) -> str | SetupFailed:
        """Return the key of a commit's environment, empty where it needs none; built if a manifest differs."""
        chosen = await self.base()
        if commit == self.context.base or commit in self._of_commit:
            return self._of_commit.get(commit, chosen.key)
        examined = await self.builder.examine(self.context.base)
        if not await self._may_differ(commit, examined):
            return chosen.key
        async with self._building:
            if commit not in self._of_commit:
                self._of_commit[commit] = await self._of_changed(commit, chosen)
            return self._of_commit[commit]

    async def _may_differ(self, commit: CommitId, examined: Examined) -> bool:
        changed = [decode(change.path) for change in await self.context.repo.changes(self.context.base, commit)]
        return may_differ(changed, asked=examined.files.asked, files=examined.files.modes)

    async def _of_changed(self, commit: CommitId, chosen: ChosenEnvironment) -> str | SetupFailed:
        plans = (await self.builder.examine(commit)).plans
        plan = _plan_like(plans, chosen, self.repository) or plans[-1]
        if plan.is_empty:
            return ""
        made = await self.builder.build(commit, plan)
        if isinstance(made, SetupFailed):
            # where the base's own set-up fails, that this one does too is not the work's fault
            return made if chosen.key or chosen.is_empty else ""
        return made.key

    async def _chosen(self) -> ChosenEnvironment:
        try:
            chosen = await self._remembered() or await self._choose()
            self._newest = chosen.key
        finally:
            self._looked.set()
        await self._keep(chosen)
        return chosen

    async def _keep(self, chosen: ChosenEnvironment) -> None:
        await self.context.remember("environment", self._kept_as, chosen)
        gates: list[JSONValue] = [*chosen.gates]
        self.builder.report("environment.chosen", {"key": chosen.key, "made_from": chosen.made_from, "gates": gates})

    @property
    def _kept_as(self) -> str:
        return f"base of {self.repository}" if self.repository else "base"

    async def _remembered(self) -> ChosenEnvironment | None:
        """Return what an earlier session chose, if it is still there and still what the plans say."""
        known = await self.context.recall("environment", self._kept_as, ChosenEnvironment)
        if known is None or not known.ran:
            return None
        base = self.context.base
        self.builder.touch(known.touched)
        plan = _plan_like((await self.builder.examine(base)).plans, known, self.repository)
        if plan is None or plan.is_empty is not known.is_empty:
            return None
        if not known.key:
            return known if known.is_empty else None
        made = await self.builder.find(base, plan)
        return known if made is not None and made.key == known.key else None

    async def _choose(self) -> ChosenEnvironment:
        """Return the first plan in which a gate command runs; else the first that could be set up; else none."""
        base = self.context.base
        examined = await self.builder.examine(base)
        tests = has_tests(self._own(examined))
        tried: list[TriedPlan] = []
        failed: list[SetupFailed] = []
        for plan in examined.plans:
            # what is last is all there is: it is tried even so
            known = None if plan is examined.plans[-1] else await self._failed_before(base, plan)
            made = known or await self._build(base, plan)
            if isinstance(made, SetupFailed):
                failed.append(made)
                continue
            self._newest = made.key if made is not None else ""
            self._looked.set()
            one = TriedPlan(plan, self._newest, made)
            await self._prove(one, tests=tests)
            tried.append(one)
            if one.ran:
                break
        if not tried:  # every set-up failed: what is there without one
            one = TriedPlan(SetupPlan(), "", None)
            plans = examined.plans
            one.plan = replace(one.plan, needs=replace(one.plan.needs, test_commands=plans[0].needs.test_commands))
            await self._prove(one, tests=tests)
            tried.append(one)
        best = next((one for one in tried if one.ran), tried[0])
        return await self._words(best, failed)

    async def _build(self, base: CommitId, plan: SetupPlan) -> Environment | SetupFailed | None:
        """Build one plan; None where it has nothing to set up.

        Raises:
            SurroundingsError: it is the user's own script, and it fails.
        """
        if plan.is_empty:
            return None
        key = await self.builder.key(base, plan)
        if await self.builder.find(base, plan) is None:
            self._looked.set()
            if key in self._failed:
                return self._failed[key]
        made = await self.builder.build(base, plan)
        if isinstance(made, SetupFailed):
            self._failed[key] = made
            now = int(self.context.clock.wall_seconds())
            await self.context.store.put(_FAILURES, key, codec.encode_object(FailedSetup(now, made.reason, made.log)))
            if kind_of(plan) is SourceKind.USER:
                raise SurroundingsError(
                    f"[codexteam.sandbox] setup: {made.describe()}",
                    hint="correct the script, commit it, and begin a new run; or leave `setup` out",
                )
        return made

    async def _failed_before(self, base: CommitId, plan: SetupPlan) -> SetupFailed | None:
        """Return how a plan's set-up ended in another run; None where that is long ago, or it is to be tried again."""
        if self.again or plan.is_empty or kind_of(plan) is SourceKind.USER:
            return None
        key = await self.builder.key(base, plan)
        stored = await self.context.store.get(_FAILURES, key)
        if stored is None or await self.builder.find(base, plan) is not None:
            return None
        known = codec.decode(FailedSetup, stored, f"the failed set-up {key}")
        if self.context.clock.wall_seconds() - known.at_seconds > _FAILURE_SECONDS:
            return None
        later = "it is tried again a day later, or by codexteam env build --rebuild"
        return SetupFailed(f"{known.reason}; {later}", log=known.log)

    async def _prove(self, one: TriedPlan, *, tests: bool) -> None:
        """See which gate commands run on the base commit in an environment; what it takes is not run again later."""
        wanted = self._configured()
        over_all = bool(self.context.repositories) and not self.repository
        if wanted or over_all:
            outcomes = await self._run(one.key, wanted)
            one.ran = all(_runs(outcome, tests=tests) for outcome in outcomes)
            return
        groups = self._groups(one.plan)
        proven: list[str] = []
        for group in groups:
            for command in group:
                (outcome,) = await self._run(one.key, [command])
                if _runs(outcome, tests=tests):
                    proven.append(command)
                    break
            if not proven:
                break  # where the first language's cannot run, the others' say little
        one.proven = tuple(proven)
        one.ran = bool(proven) or not groups

    def _configured(self) -> tuple[str, ...]:
        """Return the gate commands that the user named and that work here."""
        gates, names = self.context.settings.team.gates, self.context.repositories
        if not names:
            return gates.commands
        own = [line for line in gates.commands if repository_of_command(line, names) == self.repository]
        return (*own, *(() if self.repository else gates.system))

    def _groups(self, plan: SetupPlan) -> tuple[tuple[str, ...], ...]:
        names = (self.repository,) if self.repository else self.context.repositories
        return gate_groups(plan.needs.test_commands, names)

    def _own(self, examined: Examined) -> tuple[str, ...]:
        """Return the files that are this environment's concern."""
        start = f"{self.repository}/" if self.repository else ""
        return tuple(path for path in examined.files.modes if path.startswith(start))

    async def ask_agent(self, number: int, outcomes: Sequence[CommandOutcome]) -> bool:
        """Where nothing runs, have an agent look for a script; return whether one makes the gate commands run."""
        settings = self.context.settings
        files = self._own(await self.builder.examine(self.context.base))
        role = settings.roles.get("ci_runner")
        # Codex's own tools are in no set-up's sandbox
        is_ours = role is not None and engine_of(role, settings).engine is not AgentEngine.CODEX
        wanted = may_help(outcomes, files) and settings.team.sandbox.setup is None and is_ours
        built = await built_script(self._setup_task(await self.base(), number, outcomes)) if wanted else None
        if built is None:
            return False
        tried = TriedPlan(built.plan, built.made.key, built.made)
        await self._prove(tried, tests=has_tests(files))
        if not tried.ran:
            notice(self.context, f"the tests do not run after the set-up agent's script either; it is {built.path}")
            return False
        notice(
            self.context,
            f"the set-up agent's script makes the tests run; to keep it, commit {built.path} and name it in "
            f"[codexteam.sandbox] setup. It says: {built.answer.summary}",
        )
        await self._adopt(replace(await self._words(tried), script=built.answer.script))
        return True

    def _setup_task(self, chosen: ChosenEnvironment, number: int, outcomes: Sequence[CommandOutcome]) -> SetupTask:
        return SetupTask(self.context, self.builder, chosen, number, outcomes, self.repository)

    async def touch(self, globs: Sequence[str]) -> bool:
        """Have the projects set up that tasks write in; return whether the base's commands work in something else now."""
        chosen = await self.base()
        async with self._building:
            before = self.builder.touched
            prefixes = tuple(sorted({*before, *literal_prefixes(globs)} - self._not_set_up))
            # a script sets up what it sets up
            if prefixes == before or chosen.script:
                return False
            self.builder.touch(prefixes)
            examined = await self.builder.examine(self.context.base)
            plan = _plan_like(examined.plans, chosen, self.repository)
            if plan is None or plan.is_empty or await self.builder.key(self.context.base, plan) == chosen.key:
                same = replace(chosen, touched=prefixes)
                self._choosing = _known(same)
                await self.context.remember("environment", self._kept_as, same)
                return False
            found = await self._touched(plan, chosen, tests=has_tests(self._own(examined)))
            if isinstance(found, str):
                notice(self.context, f"the folders that the tasks write in are not set up: {found}")
                self._not_set_up.update({*prefixes} - {*before})
                self.builder.touch(before)
                return False
            await self._adopt(found)
            self._of_commit.clear()
            return True

    async def _touched(self, plan: SetupPlan, chosen: ChosenEnvironment, *, tests: bool) -> ChosenEnvironment | str:
        """Return what the base's commands work in by a plan that sets up more than the chosen one; else why they cannot."""
        made = await self._failed_before(self.context.base, plan) or await self._build(self.context.base, plan)
        if isinstance(made, SetupFailed):
            return made.reason
        tried = TriedPlan(plan, made.key if made is not None else "", made)
        await self._prove(tried, tests=tests)
        if chosen.ran and not tried.ran:
            return "the test commands that run without them do not run with them"
        return await self._words(tried)

    async def _adopt(self, found: ChosenEnvironment) -> None:
        """Take what the base's commands work in from now on."""
        self._choosing = _known(found)
        self._newest = found.key
        await self._keep(found)

    async def _run(self, key: str, commands: Sequence[str]) -> list[CommandOutcome]:
        return await baseline(self.context, self.context.base, commands, environment_key=key)

    async def _words(self, best: TriedPlan, failed: Sequence[SetupFailed] = ()) -> ChosenEnvironment:
        """Return a plan that was tried as what is chosen and remembered."""
        source = await self.context.repo.base_source(self.context.run_id, self.context.base)
        parts = [await self.context.engine.made_from(source)]
        if best.made is not None:
            steps = count_of(len(best.made.steps), "step")
            parts = [f"{best.made.made_from}, set up from {', '.join(best.made.sources)} in {steps}"]
            parts += best.made.notices
        parts += [f"a set-up failed: {each.reason}{f' (its log: {each.log})' if each.log else ''}" for each in failed]
        groups = self._groups(best.plan)
        return ChosenEnvironment(
            best.key,
            kind_of(best.plan).value,
            gates=best.proven,
            offered=groups[0] if groups else (),
            made_from=clean_line("; ".join(parts)),
            ran=best.ran,
            is_empty=best.plan.is_empty and not failed,
            touched=self.builder.touched,
        )


def _known(chosen: ChosenEnvironment) -> "asyncio.Future[ChosenEnvironment]":
    known: asyncio.Future[ChosenEnvironment] = asyncio.get_running_loop().create_future()
    known.set_result(chosen)
    return known


def _plan_like(plans: Sequence[SetupPlan], chosen: ChosenEnvironment, repository: str = "") -> SetupPlan | None:
    """Return the plan of another commit, or another session, that is made as the chosen one was."""
    if chosen.script:
        return agent_plan(plans[-1], chosen.script, next(iter(chosen.offered), ""), repository)
    return next((each for each in plans if kind_of(each).value == chosen.kind), None)


def kind_of(plan: SetupPlan) -> SourceKind:
    """Return whose plan it is: the user's script, a devcontainer's, one for agents, or what manifests and CI say."""
    if plan.secrets:
        return SourceKind.USER
    own = (SourceKind.DEVCONTAINER, SourceKind.COPILOT, SourceKind.AGENT)
    return next((each.kind for each in plan.sources if each.used and each.kind in own), SourceKind.MANIFESTS)


def _runs(outcome: CommandOutcome, *, tests: bool) -> bool:
    """Return whether a command works where it was run: it checked something, or there is nothing yet to check.

    One that did not end works too: another command would not end either, and the baseline says what to do.
    """
    match outcome.ending.ending:
        case Ending.CANNOT_RUN:
            return False
        case Ending.NOTHING_RAN:
            return not tests
        case _:
            return True
