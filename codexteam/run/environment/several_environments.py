"""Which environments the commands of several repositories work in: each repository has its own, chosen as if it were alone.

What works on all of them at once has one more, made of what all of them need, and built only where something asks for it:
the user's commands over all trees, and agents that judge every repository. Where that cannot be set up (two versions that
exclude each other), those commands say so, and those agents work in the environment of the first repository.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from codexteam.core.ids import CommitId
from codexteam.core.repositories import repositories_in, repository_of, repository_of_command
from codexteam.core.text import clean_line
from codexteam.environment.folders import literal_prefixes
from codexteam.run.command_environments import Placed
from codexteam.run.command_outcome import CommandOutcome
from codexteam.run.context import RunContext
from codexteam.run.environment.commit_environments import CommitEnvironments
from codexteam.run.remembered import ChosenEnvironment
from codexteam.system.cancellation import together


@dataclass(slots=True, eq=False)
class SeveralEnvironments:
    """One session's. Made by `app.compose`; closed with the session."""

    context: RunContext
    each: Mapping[str, CommitEnvironments]
    """By repository, in the order of their folders."""
    of_all: CommitEnvironments
    """For what works on all repositories."""
    _told: bool = field(default=False)
    """Whether it was said that there is none for all."""

    def begin(self) -> None:
        """Begin to choose the environments of the base that are needed in any case."""
        for one in self._needed():
            one.begin()

    def _needed(self) -> list[CommitEnvironments]:
        gates = self.context.settings.team.gates
        over_all = bool(gates.system) or any(not self._place_of(line) for line in gates.commands)
        return [*self.each.values(), *([self.of_all] if over_all else [])]

    def _place_of(self, command: str) -> str:
        """Return the repository that a command works in; empty for all of them."""
        if command in self.context.settings.team.gates.system:
            return ""
        return repository_of_command(command, tuple(self.each))

    def _one(self, name: str) -> CommitEnvironments:
        return self.each[name] if name else self.of_all

    async def close(self) -> None:
        """End what is still being built; make room where something was."""
        for one in (*self.each.values(), self.of_all):
            await one.close()

    async def base(self, *, again: bool = False) -> ChosenEnvironment:
        """Return what is chosen for all repositories, as one.

        A repository's own tests are gates whether another's run or not: where none of its commands runs, the first of them
        is a gate that says why it cannot.

        Raises:
            SurroundingsError: no sandbox can be started.
        """
        needed = self._needed()
        chosen = await together(*(one.base(again=again) for one in needed))
        names = [one.repository or "all together" for one in needed]
        return ChosenEnvironment(
            gates=tuple(line for each in chosen for line in (each.gates or each.offered[:1])),
            made_from="; ".join(f"{name}: {each.made_from}" for name, each in zip(names, chosen, strict=True)),
            ran=all(each.ran for each in chosen),
            is_empty=all(each.is_empty for each in chosen),
        )

    async def places(self, commit: CommitId, commands: Sequence[str]) -> Sequence[Placed]:
        """Return in which environment of a commit each command works, those of one repository together."""
        groups: dict[str, list[str]] = {}
        for command in commands:
            groups.setdefault(self._place_of(command), []).append(command)
        keys = await together(*(self._one(name).of(commit) for name in groups))
        return [Placed(tuple(group), key) for group, key in zip(groups.values(), keys, strict=True)]

    async def key_for_agent(self, commit: CommitId, paths: Sequence[str] = (), *, wait: bool = True) -> str:
        """Return the key for an agent's sandbox: of the repository that it writes in, else of all that there are."""
        names = repositories_in(paths, tuple(self.each))
        if len(names) == 1:
            return await self.each[names[0]].key_for_agent(commit, wait=wait)
        first = next(iter(self.each.values()))
        if not wait:
            return await first.key_for_agent(commit, wait=False)
        chosen = await self.of_all.base()
        if chosen.key or chosen.is_empty:
            return await self.of_all.key_for_agent(commit)
        if not self._told:
            self._told = True
            text = f"no environment has what all repositories need ({chosen.made_from}): agents that judge all of them work in "
            self.context.report("notice", {"text": clean_line(f"{text}that of {first.repository}")})
        return await first.key_for_agent(commit)

    async def touch(self, globs: Sequence[str]) -> bool:
        """Have the projects set up that tasks write in; return whether a repository's commands work in something else now."""
        changed = False
        for name, one in self.each.items():
            own = [glob for glob in globs if repository_of(glob, (name,))]
            changed = (bool(own) and await one.touch(own)) or changed
        if self.of_all.begun:
            return await self.of_all.touch(globs) or changed
        builder = self.of_all.builder
        builder.touch(tuple(sorted({*builder.touched, *literal_prefixes(globs)})))
        return changed

    async def ask_agent(self, number: int, outcomes: Sequence[CommandOutcome]) -> bool:
        """For each repository in which nothing runs that should, have an agent look for a script; return whether one helped."""
        helped, configured = False, bool(self.context.settings.team.gates.commands)
        for place, (name, one) in enumerate(self.each.items(), start=1):
            own = [outcome for outcome in outcomes if self._place_of(outcome.command) == name]
            if configured and not own:
                continue  # of this one the user wants nothing to run
            # each agent has an ordinal of its own
            helped = await one.ask_agent((number - 1) * len(self.each) + place, own) or helped
        return helped
