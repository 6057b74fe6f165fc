"""How far a role reaches: sandbox mode, network and web search, as its file asks and as far as that is capped. Pure.

A user's own role gets what its file asks for, up to what the configuration names. A project's role gets no more than the
run does, and the machine's requirements hold for everybody.
"""

from dataclasses import dataclass

from codexteam.config.layers import MergedLayers
from codexteam.config.origins import BUILT_IN, Origin, Place, stated, stated_by, trace
from codexteam.config.permissions import (
    DEFAULT_MODE,
    WEB_SEARCH_ORDER,
    Reach,
    Requirements,
    narrower_search,
    resolve_reach,
)
from codexteam.config.settings import NetworkKind, NetworkPolicy, SandboxMode, StatedValue
from codexteam.core.ids import JSONObject


@dataclass(frozen=True, slots=True)
class RunReach:
    """What holds for a role that asks for nothing, and what the configuration names as the most that one gets."""

    merged: MergedLayers
    requirements: Requirements
    hosts: tuple[str, ...]
    mode: SandboxMode
    network_access: bool
    web_search: str
    """Of a role that says nothing."""
    search_limit: str
    mode_said: StatedValue | None
    mode_cap: StatedValue | None
    """The requirement that `mode` follows instead of what is said."""
    network_said: StatedValue | None
    search_said: StatedValue | None
    search_cap: StatedValue | None

    @property
    def network(self) -> NetworkPolicy:
        """The network of a role that asks for nothing."""
        return Reach(self.mode, self.network_access).policy(self.hosts)

    @property
    def hosts_said(self) -> StatedValue | None:
        """Where the hosts are named."""
        return stated_by(self.merged, "codexteam", "sandbox", "allow_hosts")


@dataclass(frozen=True, slots=True)
class RoleReach:
    """What one role gets, each with its origin."""

    mode: SandboxMode
    network: NetworkPolicy
    web_search: str
    mode_origin: Origin
    network_origin: Origin
    search_origin: Origin


def run_reach(merged: MergedLayers, requirements: Requirements, hosts: tuple[str, ...]) -> RunReach:
    """Return what the merged layers say, within the machine's requirements."""
    wanted = resolve_reach(merged.values, Reach(DEFAULT_MODE, network=False))
    mode, mode_cap = requirements.cap_mode(wanted.mode)
    said = stated_by(merged, "web_search")
    named = said.value if said else "live" if mode is SandboxMode.DANGER_FULL_ACCESS else "cached"
    limit, search_cap = requirements.cap_search(named)
    return RunReach(
        merged=merged,
        requirements=requirements,
        hosts=hosts,
        mode=mode,
        network_access=wanted.network,
        web_search=limit if said else WEB_SEARCH_ORDER[0],
        search_limit=limit,
        mode_said=_said_mode(merged.values, merged.place),
        mode_cap=mode_cap,
        network_said=_said_network(merged.values, merged.place),
        search_said=said,
        search_cap=search_cap,
    )


def role_reach(values: JSONObject, place: Place, run: RunReach, *, of_project: bool) -> RoleReach:
    """Return what a role gets whose file has these values.

    Args:
        values: The role's own.
        place: Says where one of them stands.
        run: What the configuration says.
        of_project: It is a project's role, which gets no more than the run.
    """
    values = {**values, "permissions": {**run.merged.table("permissions"), **_table(values.get("permissions"))}}
    mode, mode_origin = _mode(values, place, run, of_project=of_project)
    network, network_origin = _network(values, place, run, mode, of_project=of_project)
    search, search_origin = _search(values, place, run, of_project=of_project)
    return RoleReach(mode, network, search, mode_origin, network_origin, search_origin)


def _mode(values: JSONObject, place: Place, run: RunReach, *, of_project: bool) -> tuple[SandboxMode, Origin]:
    said = _said_mode(values, place)
    if said is None:
        return run.mode, trace(run.mode.value, run.mode_said, run.mode_cap)
    mode = resolve_reach(values, Reach(run.mode, run.network_access)).mode
    cap: StatedValue | None = None
    if (of_project or run.mode_said is not None) and run.mode.narrower(mode) is not mode:
        mode = run.mode
        cap = run.mode_cap or run.mode_said or StatedValue("sandbox_mode", DEFAULT_MODE.value, BUILT_IN)
    mode, refused = run.requirements.cap_mode(mode)
    return mode, trace(mode.value, said, refused or cap)


def _network(
    values: JSONObject, place: Place, run: RunReach, mode: SandboxMode, *, of_project: bool
) -> tuple[NetworkPolicy, Origin]:
    if mode is SandboxMode.READ_ONLY:
        return NetworkPolicy(), Origin()
    said = _said_network(values, place) or run.network_said
    cap: StatedValue | None = None
    wanted = resolve_reach(values, Reach(mode, run.network_access)).network
    if mode is SandboxMode.DANGER_FULL_ACCESS:
        said = _said_mode(values, place) or run.mode_said
        cap = run.hosts_said if run.hosts else None
    elif wanted and not run.network_access and (of_project or run.network_said is not None):
        wanted = False
        cap = run.network_said or StatedValue("sandbox_workspace_write.network_access", "false", BUILT_IN)
    policy = Reach(mode, wanted).policy(run.hosts)
    # `none` is also what a role gets that nobody said anything of
    return policy, trace(policy.kind.value, said if said or policy.kind is not NetworkKind.NONE else None, cap)


def _search(values: JSONObject, place: Place, run: RunReach, *, of_project: bool) -> tuple[str, Origin]:
    said = stated(values, ("web_search",), place)
    if said is None:
        return run.web_search, trace(run.web_search, run.search_said, run.search_cap if run.search_said else None)
    search = said.value
    cap: StatedValue | None = None
    if (of_project or run.search_said is not None) and narrower_search(search, run.search_limit) != search:
        search = run.search_limit
        cap = run.search_cap or run.search_said or StatedValue("web_search", run.search_limit, BUILT_IN)
    search, refused = run.requirements.cap_search(search)
    return search, trace(search, said, refused or cap)


def _said_mode(values: JSONObject, place: Place) -> StatedValue | None:
    return stated(values, ("default_permissions",), place) or stated(values, ("sandbox_mode",), place)


def _said_network(values: JSONObject, place: Place) -> StatedValue | None:
    """Return what says whether commands have the network; a profile of permissions counts over the table."""
    profile = stated(values, ("default_permissions",), place)
    return profile or stated(values, ("sandbox_workspace_write", "network_access"), place)


def _table(value: object) -> JSONObject:
    return value if isinstance(value, dict) else {}
