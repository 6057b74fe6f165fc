"""Several repositories in one checkout, a folder each: each is examined as if it were alone, and their set-ups are joined."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from itertools import zip_longest

from codexteam.environment.detection import DetectionInput, detect
from codexteam.environment.plan import Offer, SetupPlan
from codexteam.environment.repository_view import RepositoryView


def detect_in_each(view: RepositoryView, given: DetectionInput, repositories: Sequence[str]) -> tuple[SetupPlan, ...]:
    """Return the plans that may make the tests of all repositories run, the best one first; without names, of the one.

    The n-th joins the n-th of each, or its last. A script of the user's sets all of them up by itself. Devcontainers do not
    count: which of the projects is trusted is known of one alone.
    """
    if given.setup is not None or not repositories:
        return detect(view, given)
    found = [
        [
            _moved(plan, name)
            for plan in detect(
                _below(view, name),
                replace(
                    given,
                    trusted=False,
                    touched=_within(given.touched, name),
                    workspace=f"{given.workspace}/{name}",
                ),
            )
        ]
        for name in repositories
    ]
    last = [plans[-1] for plans in found]
    rows = zip_longest(*found)
    return tuple(_joined([plan or last[place] for place, plan in enumerate(row)]) for row in rows)


def _below(view: RepositoryView, name: str) -> RepositoryView:
    start = f"{name}/"
    own = [path.removeprefix(start) for path in view.paths if path.startswith(start)]
    return RepositoryView(lambda path: view.read(f"{start}{path}"), own)


def _within(paths: Collection[str], name: str) -> tuple[str, ...]:
    return tuple(path.removeprefix(f"{name}/") for path in paths if path.startswith(f"{name}/"))


def _moved(plan: SetupPlan, name: str) -> SetupPlan:
    """Return a repository's plan for a checkout in which that is a folder."""

    def at(path: str) -> str:
        return f"{name}/{path}" if path else name

    needs = plan.needs
    moved = replace(
        needs,
        steps=tuple(
            replace(
                step,
                folder=at(step.folder),
                source=at(step.source),
                reads=tuple(at(path) for path in step.reads),
                # of steps that may run at the same time each is of one repository
                group=at(step.group) if step.group else "",
            )
            for step in needs.steps
        ),
        toolchains=tuple(replace(each, source=at(each.source) if each.source else "") for each in needs.toolchains),
        test_commands=tuple(
            replace(each, folder=at(each.folder), source=at(each.source)) for each in needs.test_commands
        ),
        services=tuple(replace(each, source=at(each.source)) for each in needs.services),
        service_commands=tuple(
            replace(each, folder=at(each.folder), source=at(each.source)) for each in needs.service_commands
        ),
        notices=tuple(f"{name}: {notice}" for notice in needs.notices),
    )
    return replace(plan, sources=tuple(replace(each, where=at(each.where)) for each in plan.sources), needs=moved)


def _joined(plans: Sequence[SetupPlan]) -> SetupPlan:
    return SetupPlan(
        tuple(source for plan in plans for source in plan.sources),
        sum((plan.needs for plan in plans), Offer()),
        next((plan.user for plan in plans if plan.user), ""),
        secrets=any(plan.secrets for plan in plans),
        image=next((plan.image for plan in plans if plan.image), ""),
    )
