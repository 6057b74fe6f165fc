"""A repository's pull requests on GitHub, reached the way its remote and the user's token say."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from codexteam.app.project import Project
from codexteam.errors import UsageError

if TYPE_CHECKING:
    from codexteam.adapters.github.pulls import GitHubPulls


def pulls_of(project: Project, remote: str, *, push: bool, command: str = "codexteam pr") -> "GitHubPulls":
    """Return the pull requests of the repository that a remote is pushed to, or fetched from. Closed by the caller.

    Raises:
        LandingError: there is no such remote, it is no repository on GitHub, or there is no token for its host.
    """
    from codexteam.adapters.git.push import remote_address
    from codexteam.adapters.github.place import place_of, token_for
    from codexteam.adapters.github.pulls import GitHubPulls

    environment = project.environment
    place = place_of(remote_address(project.places, remote, environment.get("PATH"), push=push), environment)
    return GitHubPulls(place, token_for(place.host, environment), command=command)


def push_variables(project: Project, remote: str) -> dict[str, str]:
    """Return the variables that let git push to a remote with the token of its API.

    Raises:
        LandingError: there is no such remote, or no token for its host.
    """
    from codexteam.adapters.git.push import remote_address, token_variables
    from codexteam.adapters.github.place import place_of, token_for

    environment = project.environment
    address = remote_address(project.places, remote, environment.get("PATH"), push=True)
    return token_variables(address, token_for(place_of(address, environment).host, environment))


def pulls_of_job(environment: Mapping[str, str], *, command: str) -> "GitHubPulls":
    """Return the pull requests of the repository whose workflow runs this. Closed by the caller.

    Raises:
        UsageError: no workflow does.
        LandingError: there is no token.
    """
    from codexteam.adapters.github.place import place_of, token_for
    from codexteam.adapters.github.pulls import GitHubPulls

    server, name = environment.get("GITHUB_SERVER_URL", "https://github.com"), environment.get("GITHUB_REPOSITORY", "")
    if not name:
        raise UsageError(
            "GITHUB_REPOSITORY is not set: no workflow runs this", hint="codexteam ci init github writes workflows"
        )
    place = place_of(f"{server.rstrip('/')}/{name}", environment)
    return GitHubPulls(place, token_for(place.host, environment), command=command)
