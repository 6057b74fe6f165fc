"""The user's mirrors, proxies and certificates, as set-ups need them.

Package managers keep them in a dozen files and variables, and do not read each other's: uv does not read `pip.conf`.
What is found becomes variables for set-ups alone, hosts for the proxy's list, and the files that have to be visible.
Variables may hold credentials: they go to set-ups and nowhere else, and a `RegistryConfiguration` says nothing of them
when it is printed or counted into a key (`identity`).
"""

import configparser
import re
import tomllib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit, urlunsplit

from codexteam.core.ids import JSONObject
from codexteam.core.text import clean_line
from codexteam.environment.documents import dig, mapping, strings
from codexteam.environment.registries import host_and_port
from codexteam.environment.yaml_values import read_yaml

#: Certificates, under every name by which a tool asks for them.
_CA_FILE_VARIABLES = (
    *("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT", "NODE_EXTRA_CA_CERTS", "GIT_SSL_CAINFO"),
    *("CARGO_HTTP_CAINFO", "YARN_HTTPS_CA_FILE_PATH", "BUNDLE_SSL_CA_CERT", "HEX_CACERTS_PATH", "DENO_CERT"),
)
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy")
#: Variables that are passed on as they are.
_PASSED = re.compile(
    r"^(?:PIP_(?:INDEX_URL|EXTRA_INDEX_URL|FIND_LINKS|TRUSTED_HOST|NO_INDEX|CONSTRAINT|CLIENT_CERT|RETRIES|DEFAULT_TIMEOUT)"
    r"|UV_(?:DEFAULT_INDEX|INDEX|INDEX_URL|EXTRA_INDEX_URL|FIND_LINKS|INDEX_STRATEGY|INSECURE_HOST|SYSTEM_CERTS|NATIVE_TLS"
    r"|PYTHON_INSTALL_MIRROR|PYPY_INSTALL_MIRROR|INDEX_\w+_(?:USERNAME|PASSWORD))"
    r"|POETRY_(?:HTTP_BASIC|REPOSITORIES|PYPI_TOKEN|CERTIFICATES)_\w+"
    r"|(?i:npm_config_(?:registry|cafile|proxy|https_proxy|https-proxy|noproxy|strict_ssl|//.*|@.*))"
    r"|YARN_(?:NPM_\w+|HTTPS?_PROXY|REGISTRY)|BUN_CONFIG_REGISTRY|COREPACK_NPM_REGISTRY|COREPACK_INTEGRITY_KEYS"
    r"|GO(?:PROXY|PRIVATE|NOSUMDB|NOSUMCHECK|SUMDB|NOPROXY|INSECURE|AUTH)"
    r"|CARGO_(?:REGISTRIES_\w+|REGISTRY_\w+|SOURCE_\w+|HTTP_\w+)|RUSTUP_(?:DIST_SERVER|UPDATE_ROOT)"
    r"|BUNDLE_(?:MIRROR__\w+|SSL_\w+|\w+__\w+)|RUBYGEMS_HOST|COMPOSER_(?:AUTH|REPO_PACKAGIST)"
    r"|MAVEN_OPTS|MVNW_REPOURL|NUGET_\w+|HEX_(?:MIRROR|API_KEY|UNSAFE_HTTPS)|NODE_(?:EXTRA_CA_CERTS|USE_ENV_PROXY))$"
)
#: Files, relative to the user's home; what each is read as.
HOME_FILES = (
    *(".config/pip/pip.conf", ".pip/pip.conf", ".config/uv/uv.toml", ".npmrc", ".yarnrc.yml", ".cargo/config.toml"),
    *(".cargo/config", ".cargo/credentials.toml", ".bundle/config", ".config/go/env", ".m2/settings.xml"),
    *(".nuget/NuGet/NuGet.Config", ".netrc"),
)
#: Under /run/secrets in a set-up: files that may hold credentials, and that nothing but a file can stand for.
MAVEN_FILE = "maven-settings.xml"
NUGET_FILE = "nuget.config"
NETRC_FILE = "netrc"
SYSTEM_FILES = ("/etc/pip.conf", "/etc/uv/uv.toml", "/etc/npmrc")


@dataclass(frozen=True, slots=True)
class RegistryConfiguration:
    """Where set-ups find packages."""

    variables: Mapping[str, str] = field(default_factory=dict, repr=False)
    """For set-ups alone; may hold credentials."""
    hosts: tuple[str, ...] = ()
    """Besides the public registries; with its port where that is none of the web's."""
    folders: tuple[str, ...] = ()
    """Of the user's machine, to be visible and read-only: local indexes, certificates."""
    notices: tuple[str, ...] = ()
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Files under /run/secrets of set-ups alone, by name."""

    @property
    def identity(self) -> tuple[str, ...]:
        """What tells one configuration from another, without credentials: for the key of an environment."""
        return tuple(
            sorted(
                f"{name}={_without_credentials(value)}"
                for name, value in self.variables.items()
                if not re.search(r"TOKEN|PASSWORD|AUTH|SECRET|USERNAME|API_KEY", name, re.IGNORECASE)
            )
        )


def read_registries(variables: Mapping[str, str], files: Mapping[str, str]) -> RegistryConfiguration:
    """Return what a user's variables and files say.

    Args:
        variables: the user's environment.
        files: texts by path: of `HOME_FILES` (as they stand there) and `SYSTEM_FILES`.
    """
    notices: list[str] = []
    found: dict[str, str] = {}
    for path, text in files.items():
        found |= _of_file(path, text, variables, notices)
    for name, value in variables.items():
        if value and (_PASSED.match(name) or name in _PROXIES):
            found[name] = value
    certificate = next((variables[name] for name in _CA_FILE_VARIABLES if variables.get(name)), "") or found.get(
        "PIP_CERT", ""
    )
    if certificate:
        found |= {name: found.get(name) or variables.get(name) or certificate for name in _CA_FILE_VARIABLES}
    _for_uv(found)
    secrets, named = _secrets(files)
    named += [host for name, value in found.items() if name not in _PROXIES for host in _hosts(value)]
    hosts = tuple(dict.fromkeys(named))
    if netrc := _netrc(files.get(".netrc", ""), hosts):
        secrets[NETRC_FILE] = netrc
        found["NETRC"] = f"/run/secrets/{NETRC_FILE}"
    folders = [certificate] if certificate else []
    folders += [
        path for name, value in found.items() if "INDEX" in name or "FIND_LINKS" in name for path in _folders(value)
    ]
    return RegistryConfiguration(found, hosts, tuple(dict.fromkeys(folders)), tuple(dict.fromkeys(notices)), secrets)


def _secrets(files: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """Return the files that set-ups are given as they are, and the hosts that they name."""
    secrets: dict[str, str] = {}
    hosts: list[str] = []
    for path, name in ((".m2/settings.xml", MAVEN_FILE), (".nuget/NuGet/NuGet.Config", NUGET_FILE)):
        text = files.get(path, "")
        if text.strip():
            secrets[name] = text
            urls = re.findall(r"<url>\s*(https?://[^<\s]+)|\bvalue=\"(https?://[^\"]+)", text)
            hosts += [host for pair in urls for url in pair for host in _hosts(url)]
    return secrets, hosts


def _netrc(text: str, hosts: Collection[str]) -> str:
    """Return what a `.netrc` holds for these hosts: what it has for others is not for set-ups."""
    names = {re.sub(r":\d+$", "", host) for host in hosts}
    entries = re.split(r"(?m)^(?=\s*(?:machine|default|macdef)\b)", text)
    kept = [each for each in entries if (found := re.match(r"\s*machine\s+(\S+)", each)) and found[1] in names]
    return "\n".join(each.strip() for each in kept) + "\n" if kept else ""


def _for_uv(found: dict[str, str]) -> None:
    """Say to uv what pip knows: it does not read pip's files."""
    for pip, uv in (
        ("PIP_INDEX_URL", "UV_DEFAULT_INDEX"),
        ("PIP_FIND_LINKS", "UV_FIND_LINKS"),
        ("PIP_EXTRA_INDEX_URL", "UV_INDEX"),
    ):
        if pip in found and uv not in found and not (uv == "UV_DEFAULT_INDEX" and "UV_INDEX_URL" in found):
            # pip has spaces between several, uv commas between folders and spaces between indexes
            found[uv] = ",".join(found[pip].split()) if uv == "UV_FIND_LINKS" else " ".join(found[pip].split())
    if "PIP_TRUSTED_HOST" in found and "UV_INSECURE_HOST" not in found:
        found["UV_INSECURE_HOST"] = " ".join(found["PIP_TRUSTED_HOST"].split())
    if "PIP_EXTRA_INDEX_URL" in found and "UV_INDEX_STRATEGY" not in found:
        # pip takes the best version of all indexes
        found["UV_INDEX_STRATEGY"] = "unsafe-best-match"
    registry = next((value for name, value in found.items() if name.lower() == "npm_config_registry"), "")
    if registry:
        found.setdefault("YARN_NPM_REGISTRY_SERVER", registry)
        found.setdefault("YARN_REGISTRY", registry)
        found.setdefault("BUN_CONFIG_REGISTRY", registry)


def _of_file(path: str, text: str, variables: Mapping[str, str], notices: list[str]) -> dict[str, str]:
    name = path.rpartition("/")[2]
    try:
        match name:
            case "pip.conf":
                return _pip(text)
            case "uv.toml":
                return _uv(tomllib.loads(text))
            case ".npmrc" | "npmrc":
                return dict(_npm(text, variables))
            case ".yarnrc.yml":
                return dict(_yarn(mapping(read_yaml(text)), notices))
            case "credentials.toml":
                return {
                    f"CARGO_REGISTRIES_{key.upper().replace('-', '_')}_TOKEN": token
                    for key, value in mapping(tomllib.loads(text).get("registries")).items()
                    if isinstance(token := dig(value, "token"), str)
                }
            case "config.toml" | "config":
                return _cargo(tomllib.loads(text)) if ".cargo" in path else dict(_bundle(text))
            case "env" if path.endswith("go/env"):
                pairs = (line.strip().partition("=") for line in text.splitlines())
                return {key: value for key, _, value in pairs if _PASSED.match(key) and value}
            case _:
                return {}
    except (ValueError, configparser.Error, RecursionError) as error:
        notices.append(
            f"{path} cannot be read, so what it says of registries does not count: {clean_line(str(error))[:120]}"
        )
        return {}


def _pip(text: str) -> dict[str, str]:
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.read_string(text)
    found: dict[str, str] = {}
    keys = ("index-url", "extra-index-url", "find-links", "trusted-host", "cert", "client-cert", "proxy", "no-index")
    for section in ("global", "install"):
        if parser.has_section(section):
            for key in keys:
                value = parser.get(section, key, fallback="")
                if value.strip():
                    found[f"PIP_{key.upper().replace('-', '_')}"] = " ".join(value.split())
    return found


def _uv(found: JSONObject) -> dict[str, str]:
    variables: dict[str, str] = {}
    pip = mapping(found.get("pip"))
    for key, variable in (("index-url", "UV_DEFAULT_INDEX"), ("python-install-mirror", "UV_PYTHON_INSTALL_MIRROR")):
        value = found.get(key) or pip.get(key)
        if isinstance(value, str):
            variables[variable] = value
    extra = strings(found.get("extra-index-url")) or strings(pip.get("extra-index-url"))
    indexes = found.get("index")
    for index in indexes if isinstance(indexes, list) else []:
        url, name = dig(index, "url"), dig(index, "name")
        if isinstance(url, str) and dig(index, "default") is True:
            variables["UV_DEFAULT_INDEX"] = url
        elif isinstance(url, str) and dig(index, "explicit") is not True:
            extra.append(f"{name}={url}" if isinstance(name, str) else url)
    if extra:
        variables["UV_INDEX"] = " ".join(extra)
    links = strings(found.get("find-links")) or strings(pip.get("find-links"))
    if links:
        variables["UV_FIND_LINKS"] = ",".join(links)
    return variables


def _npm(text: str, variables: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for raw in text.splitlines():
        line = raw.strip()
        if not line or line[0] in "#;" or "=" not in line:
            continue
        key, _, value = (part.strip() for part in line.partition("="))
        value = re.sub(r"\$\{(\w+)\}", lambda match: variables.get(match[1], ""), value.strip("\"'"))
        if key.startswith(("//", "@")) or key in {
            *("registry", "cafile", "ca", "proxy", "https-proxy", "noproxy", "strict-ssl", "min-release-age", "before"),
        }:
            yield f"npm_config_{key.replace('-', '_') if key[0] not in '/@' else key}", value


def _yarn(found: JSONObject, notices: list[str]) -> Iterator[tuple[str, str]]:
    for key, variable in (
        ("npmRegistryServer", "YARN_NPM_REGISTRY_SERVER"),
        ("npmAuthToken", "YARN_NPM_AUTH_TOKEN"),
        ("npmAuthIdent", "YARN_NPM_AUTH_IDENT"),
        ("httpsCaFilePath", "YARN_HTTPS_CA_FILE_PATH"),
    ):
        value = found.get(key)
        if isinstance(value, str) and "${" not in value:
            yield variable, value
    if found.get("npmScopes"):
        notices.append(".yarnrc.yml: npmScopes does not count: yarn has no variable for it")


def _cargo(found: JSONObject) -> dict[str, str]:
    """Return cargo's registries. A replaced source has no variable of its own: it is named in full."""
    variables: dict[str, str] = {}
    for name, value in mapping(found.get("registries")).items():
        index = dig(value, "index")
        if isinstance(index, str):
            variables[f"CARGO_REGISTRIES_{name.upper().replace('-', '_')}_INDEX"] = index
    for name, value in mapping(found.get("source")).items():
        for key in ("replace-with", "registry", "directory", "local-registry"):
            word = dig(value, key)
            if isinstance(word, str):
                variables[f"CARGO_SOURCE_{name.upper().replace('-', '_')}_{key.upper().replace('-', '_')}"] = word
    http = mapping(found.get("http"))
    for key, variable in (("proxy", "CARGO_HTTP_PROXY"), ("cainfo", "CARGO_HTTP_CAINFO")):
        word = http.get(key)
        if isinstance(word, str):
            variables[variable] = word
    return variables


def _bundle(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        found = re.match(r"""^(BUNDLE_(?:MIRROR__[^:]+|SSL_\w+|[A-Z0-9_]+__[A-Z0-9_]+)):\s*["']?(.*?)["']?\s*$""", line)
        if found:
            yield found[1], found[2]


def _hosts(value: str) -> Iterator[str]:
    for word in re.split(r"[\s,|]+", value):
        url = word.removeprefix("sparse+").removeprefix("git+")
        url = url.partition("=")[2] if re.match(r"^\w[\w-]*=https?://", url) else url
        if re.match(r"^https?://", url) and (host := host_and_port(url)):
            yield host


def _folders(value: str) -> Iterator[str]:
    for word in re.split(r"[\s,]+", value):
        path = word.removeprefix("file://")
        if path.startswith("/"):
            # pages of an index in a folder link to files beside it
            yield path.rstrip("/").removesuffix("/simple") or path


def _without_credentials(value: str) -> str:
    def plain(match: re.Match[str]) -> str:
        try:
            parts = urlsplit(match[0])
        except ValueError:
            return match[0]
        return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))

    return re.sub(r"https?://[^\s,]+", plain, value)
