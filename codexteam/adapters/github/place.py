"""Where a repository is on GitHub, told from the address that git pushes to, and the token to speak to it with."""

import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from codexteam.core.text import clean_line
from codexteam.errors import LandingError

#: `git@github.com:owner/name.git`, as ssh writes it.
_SCP = re.compile(r"(?:[^@/:]+@)?(?P<host>[^@/:]+):(?!//)(?P<path>.+)")
_GH_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class GitHubPlace:
    """A repository on a GitHub server."""

    host: str
    owner: str
    name: str
    api_url: str
    """Without a slash at its end."""

    @property
    def graph_url(self) -> str:
        """Return where GraphQL is asked: beside the REST API, as on github.com and on servers of one's own."""
        return f"{self.api_url.removesuffix('/v3')}/graphql"


def place_of(url: str, environment: Mapping[str, str]) -> GitHubPlace:
    """Return where a remote's address points.

    `GITHUB_API_URL` is where the API is, as in GitHub's own runners; else it follows from the host.

    Raises:
        LandingError: it is not the address of a repository on a server.
    """
    shown = clean_line(re.sub(r"//[^/@]*@", "//", url))
    port = ""
    if "://" in url:
        host, port, path = _parts(url)
    elif found := _SCP.fullmatch(url):
        host, path = found["host"], found["path"]
    else:
        host = path = ""
    names = path.strip("/").removesuffix(".git").split("/")
    if not host or len(names) != 2 or not all(names):
        raise LandingError(
            f"the remote's address {shown!r} names no repository on GitHub",
            hint="expected is https://HOST/OWNER/NAME or git@HOST:OWNER/NAME; --remote NAME names another remote",
        )
    if host == "ssh.github.com":  # where ssh goes over the port of https
        host = "github.com"
    if host == "github.com":
        usual = "https://api.github.com"
    elif host.endswith(".ghe.com"):
        usual = f"https://api.{host}"
    else:
        usual = f"https://{host}{port}/api/v3"
    api = environment.get("GITHUB_API_URL", "").strip() or usual
    return GitHubPlace(host, names[0], names[1], api.rstrip("/"))


def _parts(url: str) -> tuple[str, str, str]:
    """Return host, port of the API and path; all are empty where it is not a URL, such as `ssh://git@HOST:OWNER/NAME`."""
    try:
        parts = urlsplit(url)
        # the port of ssh says nothing of the API's
        port = f":{parts.port}" if parts.port and parts.scheme in {"http", "https"} else ""
    except ValueError:
        return "", "", ""
    return parts.hostname or "", port, parts.path


def token_for(host: str, environment: Mapping[str, str]) -> str:
    """Return the token: from the environment as `gh` reads it, else that of `gh` itself if it is signed in.

    A token for github.com goes to no other host: what a remote names may be anybody's server.

    Raises:
        LandingError: there is none.
    """
    names = _names(host, environment)
    for name in names:
        if token := environment.get(name, "").strip():
            return token
    if program := shutil.which("gh", path=environment.get("PATH")):
        try:
            done = subprocess.run(
                (program, "auth", "token", "--hostname", host),
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_GH_SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            done = None
        if done is not None and done.returncode == 0 and done.stdout.strip():
            return done.stdout.strip()
    raise LandingError(
        f"no token for {host}: {' and '.join(names)} are not set, and gh is not signed in to it",
        hint=f"sign in with `gh auth login --hostname {host}`, or set {names[-1]}; nothing was sent",
    )


def _names(host: str, environment: Mapping[str, str]) -> tuple[str, str]:
    """Return the variables whose token is meant for a host; in Actions also those of the server that it runs for."""
    server = urlsplit(environment.get("GITHUB_SERVER_URL", "")).hostname
    if host == "github.com" or host.endswith(".ghe.com") or host == server:
        return "GH_TOKEN", "GITHUB_TOKEN"
    return "GH_ENTERPRISE_TOKEN", "GITHUB_ENTERPRISE_TOKEN"
