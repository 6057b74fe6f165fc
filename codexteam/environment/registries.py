"""Which hosts set-ups ask: the registries of each ecosystem, by name; everything else needs `setup_hosts`."""

from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

from codexteam.environment.plan import Ecosystem

#: Where packages come from when nobody names a mirror.
DEFAULT_HOSTS: Mapping[Ecosystem, tuple[str, ...]] = {
    Ecosystem.PYTHON: ("pypi.org", "files.pythonhosted.org"),
    Ecosystem.NODE: ("registry.npmjs.org", "registry.yarnpkg.com"),
    Ecosystem.DENO: ("jsr.io", "npm.jsr.io", "deno.land", "registry.npmjs.org"),
    Ecosystem.GO: ("proxy.golang.org", "sum.golang.org", "storage.googleapis.com"),
    Ecosystem.RUST: ("index.crates.io", "static.crates.io", "crates.io", "static.rust-lang.org"),
    Ecosystem.RUBY: ("rubygems.org", "index.rubygems.org"),
    # Composer's registry has only the names: the archives come from the code host
    Ecosystem.PHP: ("repo.packagist.org", "packagist.org", "api.github.com", "codeload.github.com", "github.com"),
    Ecosystem.JAVA: (
        *("repo.maven.apache.org", "repo1.maven.org", "plugins.gradle.org", "plugins-artifacts.gradle.org"),
        *("services.gradle.org", "downloads.gradle.org", "dl.google.com", "maven.google.com"),
    ),
    Ecosystem.DOTNET: ("api.nuget.org", "www.nuget.org", "globalcdn.nuget.org"),
    Ecosystem.ELIXIR: ("repo.hex.pm", "hex.pm", "builds.hex.pm", "cdn.hex.pm"),
    Ecosystem.PERL: (
        "cpan.metacpan.org",
        "www.cpan.org",
        "cpan.org",
        "fastapi.metacpan.org",
        "cpanmetadb.plackperl.org",
    ),
    Ecosystem.NATIVE: ("pypi.org", "files.pythonhosted.org"),
    Ecosystem.OTHER: (),
}
#: Where distributions of the usual images have their packages.
SYSTEM_PACKAGE_HOSTS = (
    *("deb.debian.org", "security.debian.org", "archive.ubuntu.com", "security.ubuntu.com", "ports.ubuntu.com"),
    "dl-cdn.alpinelinux.org",
)
#: A Python that a machine lacks comes from releases on a code host.
PYTHON_BUILD_HOSTS = (
    "releases.astral.sh",
    "github.com",
    "objects.githubusercontent.com",
    "release-assets.githubusercontent.com",
)


def host_and_port(url: str) -> str:
    """Return the host of an address, with its port where that is none of the web's; empty where there is none."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return ""
    name = f"[{host}]" if ":" in host else host
    return name if not host or port in {None, 80, 443} else f"{name}:{port}"


def registry_hosts(ecosystems: Iterable[Ecosystem], *, system_packages: bool = False) -> tuple[str, ...]:
    """Return the hosts that a set-up with these ecosystems may ask, each once."""
    chosen = set(ecosystems)
    # what brings Node and Go where a machine has none comes from the Python registry
    if chosen & {Ecosystem.NODE, Ecosystem.DENO, Ecosystem.GO}:
        chosen.add(Ecosystem.PYTHON)
    found = [host for ecosystem in Ecosystem if ecosystem in chosen for host in DEFAULT_HOSTS[ecosystem]]
    if Ecosystem.PYTHON in chosen:
        found += PYTHON_BUILD_HOSTS
    if system_packages:
        found += SYSTEM_PACKAGE_HOSTS
    return tuple(dict.fromkeys(found))
