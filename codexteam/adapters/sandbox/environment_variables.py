"""What commands find set: those of a set-up, and those that work in the environment it made. The same for every engine."""

from collections.abc import Iterable, Mapping

from codexteam.config.settings import NetworkKind
from codexteam.environment.plan import BIN, SETUP_USER_HOME
from codexteam.ports.environments import Environment, SetupOrder


def of_setup(order: SetupOrder, plain: Mapping[str, str]) -> dict[str, str]:
    """Return what the steps of a set-up find set; `plain` is what the engine sets for every command."""
    return {
        **plain,
        "HOME": SETUP_USER_HOME,
        **order.variables,
        "PATH": _search_path(order.paths, order.variables, plain),
    }


def of_environment(environment: Environment, network: NetworkKind, plain: Mapping[str, str]) -> dict[str, str]:
    """Return what commands in a finished environment find set; `plain` is what the engine sets for every command."""
    offline = environment.offline_variables if network is NetworkKind.NONE else {}
    own = {**environment.variables, **offline}
    return {**plain, **own, "PATH": _search_path(environment.paths, own, plain)}


def _search_path(first: Iterable[str], own: Mapping[str, str], plain: Mapping[str, str]) -> str:
    last = own.get("PATH", plain.get("PATH", "")).split(":")
    return ":".join(dict.fromkeys(folder for folder in (*first, BIN, *last) if folder))
