"""Which hosts set-ups ask: the registries of each ecosystem, by name; everything else needs `setup_hosts`.

Of registries that a repository's own files name, the hosts alone count. A set-up may hold credentials of the user's
registries, and a repository is somebody else's: a host that it names is asked only where the project is trusted.
Elsewhere a line says what to do.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import urlsplit

from codexteam.core.ids import JSONValue
from codexteam.environment.documents import Documents, dig, join, mapping, strings, texts_below
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


#: Public, and not everybody's to write to: nothing that is sent there reaches a stranger.
_WELL_KNOWN = frozenset(
    ("download.pytorch.org", "repo.spring.io", "central.sonatype.com", "oss.sonatype.org", "packages.confluent.io")
)
_LOCKS = {
    "package-lock.json": r"\"resolved\":\s*\"(?:git\+)?(https?://[^\"]+)",
    "npm-shrinkwrap.json": r"\"resolved\":\s*\"(?:git\+)?(https?://[^\"]+)",
    "yarn.lock": r"^\s+resolved \"?(https?://\S+)",
    "pnpm-lock.yaml": r"tarball:\s*(https?://[^\s,}]+)",
    "uv.lock": r"\b(?:url|registry|git) = \"(https?://[^\"]+)",
    "pdm.lock": r"\b(?:url|git) = \"(https?://[^\"]+)",
    "poetry.lock": r"^url = \"(https?://[^\"]+)",
    "Cargo.lock": r"^source = \"(?:registry|sparse|git)\+(https?://[^\"]+)",
}
_LOCK_BYTES = 4 << 20


def project_hosts(documents: Documents, folders: Iterable[str]) -> dict[str, str]:
    """Return the hosts of registries that files in some folders name, and which file does; public ones left out."""
    known = {host for hosts in DEFAULT_HOSTS.values() for host in hosts} | set(PYTHON_BUILD_HOSTS)
    found: dict[str, str] = {}
    for folder in dict.fromkeys(("", *folders)):
        for path, url in _urls(documents, folder):
            host = _host(url)
            if host and host not in known:
                found.setdefault(host, path)
    return found


def split_hosts(found: dict[str, str], *, trusted: bool) -> tuple[list[str], list[str]]:
    """Return which of these hosts a set-up may ask, and a line for each of the others."""
    asked = [host for host in found if trusted or host in _WELL_KNOWN]
    lines = [
        f"{path} names the registry {host}, which is not asked, since the project is not trusted: "
        "[codexteam.sandbox] setup_hosts lets set-ups ask it"
        for host, path in found.items()
        if host not in asked
    ]
    return asked, lines


def _host(url: str) -> str:
    host = host_and_port(url)
    return host if re.fullmatch(r"[a-z0-9-]+(?:\.[a-z0-9-]+)+(?::\d+)?", host) else ""


def _urls(documents: Documents, folder: str) -> Iterator[tuple[str, str]]:
    for name, pattern in _PATTERNS.items():
        path = join(folder, name)
        if documents.has(path):
            yield from ((path, url) for url in re.findall(pattern, documents.text(path), re.MULTILINE | re.DOTALL))
    for name, pattern in _LOCKS.items():
        path = join(folder, name)
        text = documents.text(path)
        if len(text) <= _LOCK_BYTES:
            yield from ((path, url) for url in dict.fromkeys(re.findall(pattern, text, re.MULTILINE)))
    for name, keys in _TABLES:
        path = join(folder, name)
        for value in _at(documents.toml(path), keys) if documents.has(path) else ():
            yield from ((path, text) for text in texts_below(value) if re.match(r"(?:sparse\+)?https?://", text))
    path = join(folder, ".yarnrc.yml")
    found = documents.yaml(path) if documents.has(path) else {}
    for value in (found, *mapping(found.get("npmScopes")).values()):
        yield from ((path, text) for text in strings(dig(value, "npmRegistryServer")))
    path = join(folder, "composer.json")
    if documents.has(path):
        yield from ((path, url) for url in _composer(documents.json(path).get("repositories")))
    prefix = f"{folder}/" if folder else ""
    for path in documents.view.paths:
        if re.fullmatch(re.escape(prefix) + r"(?:requirements/)?[\w.-]*require\w*[\w.-]*\.(?:txt|in)", path):
            options = r"^\s*(?:-i|-f|--index-url|--extra-index-url|--find-links)[\s=]+(https?://\S+)"
            yield from ((path, url) for url in re.findall(options, documents.text(path), re.MULTILINE))


def _composer(value: JSONValue) -> Iterator[str]:
    each = value if isinstance(value, list) else list(mapping(value).values())
    for repository in each:
        yield from strings(dig(repository, "url"))


def _at(value: JSONValue, keys: tuple[str, ...]) -> Iterator[JSONValue]:
    """Return what stands under nested keys; `*` stands for every one of a table or list."""
    if not keys:
        yield value
    elif keys[0] != "*":
        yield from _at(dig(value, keys[0]), keys[1:])
    else:
        for each in value if isinstance(value, list) else mapping(value).values():
            yield from _at(each, keys[1:])


_MAVEN = r"<(?:repository|pluginRepository|mirror)>(?:(?!</(?:repository|pluginRepository|mirror)>).)*?<url>\s*(https?://[^<\s]+)"
_GRADLE = r"\bmaven\s*(?:\{[^}]*?url\b[^\"'}]*|\(\s*(?:url\s*=\s*)?(?:uri\()?)[\"'](https?://[^\"']+)"
#: By file: what names a registry's address in it.
_PATTERNS = {
    ".npmrc": r"^\s*(?:@[\w.-]+:)?registry\s*=\s*[\"']?(https?://[^\s\"']+)",
    ".yarnrc": r"^\s*\"?(?:@[\w.-]+:)?registry\"?\s+\"?(https?://[^\s\"]+)",
    "Gemfile": r"^\s*source\s*\(?\s*[\"'](https?://[^\"']+)",
    "pom.xml": _MAVEN,
    ".mvn/settings.xml": _MAVEN,
    "build.gradle": _GRADLE,
    "build.gradle.kts": _GRADLE,
    "settings.gradle": _GRADLE,
    "settings.gradle.kts": _GRADLE,
    "NuGet.config": r"<add\s[^>]*\bvalue=\"(https?://[^\"]+)",
    "NuGet.Config": r"<add\s[^>]*\bvalue=\"(https?://[^\"]+)",
    "nuget.config": r"<add\s[^>]*\bvalue=\"(https?://[^\"]+)",
}
_TABLES = (
    *(("pyproject.toml", ("tool", "uv", key)) for key in ("index", "index-url", "extra-index-url", "find-links")),
    *(("uv.toml", (key,)) for key in ("index", "index-url", "extra-index-url", "find-links")),
    *(("pyproject.toml", ("tool", name, "source")) for name in ("poetry", "pdm")),
    ("Pipfile", ("source",)),
    ("bunfig.toml", ("install", "registry")),
    ("bunfig.toml", ("install", "scopes")),
    (".cargo/config.toml", ("registries", "*", "index")),
    (".cargo/config.toml", ("source", "*", "registry")),
)
