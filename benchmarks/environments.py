"""Takes public repositories as they are and sees whether their own tests run in the environment that is built for them.

    python benchmarks/environments.py MIRRORS... [--engine bubblewrap] [--only NAME...] [--results FILE] [--keep DIR]

Nothing is configured but the engine (and the image, with `--image`), and nothing is installed beforehand: each
repository is cloned from a local mirror at the commit that stands below, `codexteam env build` builds its environment
and tries its test commands, and a second `env build` shows what a kept environment takes. MIRRORS are folders in which
a repository lies as `OWNER+NAME/repo`, `OWNER/NAME` or `NAME`, bare or not. Environments are built cold, each with
package caches of its own.
A repository that needs a registry which this machine does not reach is listed, and neither tried nor counted.
The table goes to standard output, one JSON line for each repository to the results, which a later call continues.
"""

import argparse
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple


class Repository(NamedTuple):
    """What is taken, and at which commit."""

    ecosystem: str
    name: str
    commit: str
    registry: str = ""
    """What it cannot do without; empty: nothing, or PyPI or npm, without which nothing here can be measured."""


REPOSITORIES = (
    Repository("python", "benjaminp/six", "c8e394065cd541a16c040515dc0afb85cf22a7c3"),
    Repository("node", "expressjs/express", "a3714473feb3d2908add734d340e7755fd85e0a3"),
    Repository("go", "google/uuid", "2d3c2a9cc518326daf99a383f07c4d3c44317e4d"),
    Repository("rust", "servo/rust-fnv", "4e55052a343a4372c191141f29a17ab829cf1dbc"),
    Repository("php", "erusev/parsedown", "4e433a8d57078645b55d21fd12c887d3ba6ca01e"),
    Repository("native", "DaveGamble/cJSON", "a29814f285cc531c00223743ad3c55cd38c0dc56"),
    Repository("ruby", "knu/ruby-domain_name", "e955d9533e792b3293c560277c15515bfeeb65c9"),
    Repository("perl", "dagolden/Path-Tiny", "c418a3b88c504b89084db471de1ed537cbdb400a"),
    Repository("python", "pallets/click", "2c8cd3ac958a7eb316d67f2d316c27086c4c0369"),
    Repository("node", "tj/commander.js", "ba6d13ddb4243e5913367734f8c159089ffe7834"),
    Repository("go", "gorilla/mux", "db9d1d0073d27a0a2d9a8c1bc52aa0af4374d265"),
    Repository("rust", "bluss/scopeguard", "bb988222848d39b0b9037b29da3a3a1eb05ebf4b"),
    Repository("native", "zserge/jsmn", "25647e692c7906b96ffd2b05ca54c097948e879c"),
    Repository("perl", "makamaka/JSON-PP", "f4c75499a7b28f95db061b3b1824a9a8598f980c"),
    Repository("python", "encode/httpx", "ae1b9f66238f75ced3ced5e4485408435de10768"),
    Repository("node", "jquense/yup", "ff31eee8a2b10c938bb3a22544d9e33957a8cf01"),
    Repository("rust", "cuviper/autocfg", "d912169ed67977efe5a465269b0e73cb66060c49"),
    Repository("native", "kgabis/parson", "ba29f4eda9ea7703a9f6a9cf2b0532a2605723c3"),
    Repository("perl", "mojolicious/mojo", "b4de430651b722f560b1577da9018e3f402d96ab"),
    Repository("python", "jpadilla/pyjwt", "dcc27a9d3182a2349c30b160758785c6ce7a6508"),
    Repository("node", "unjs/ufo", "11308c0bb5cb4a4bc3bfcbdc5c03177b097423e6"),
    Repository("rust", "SergioBenitez/version_check", "d77ef9f27cc336719b2d839d09ee6635dd22f758"),
    Repository("native", "madler/zlib", "d201f04c72b0881220f5ba75ca19fd0e19fa848b"),
    Repository("python", "pytest-dev/pluggy", "e382e72789f8d791991c489d4322aa04e660b952"),
    Repository("node", "fastify/fastify-cors", "2a47537e6deb32652f16aba19d05adb14736c108"),
    Repository("python", "python-poetry/tomlkit", "d8ed1e3cdb024dfc2c6f12b45a0dfd4d4d91f727"),
    Repository("node", "sindresorhus/p-limit", "df476048d023ff868cd45b35ee47f5fb0ca2b25a"),
    Repository("python", "hynek/structlog", "025edaf799c6d6d511ab672d14c2ba8e885c4c36"),
    Repository("node", "debug-js/debug", "f405ade8a4b7a0dc353e0f7390c1be90060f3621"),
    Repository("python", "pallets/itsdangerous", "672971d66a2ef9f85151e53283113f33d642dabd"),
    Repository("python", "pytest-dev/iniconfig", "71901257f6cbf660e77b1077e00f11a0f440be1e"),
    Repository("python", "theskumar/python-dotenv", "bca6644d9aedbe287b792b756b3ae3d650cd0d3a"),
    Repository("python", "marshmallow-code/marshmallow", "341b927f219205704728c05cd61f04d7e9727523"),
    Repository("native", "fmtlib/fmt", "60ccad511fd680cb91d8b60a315759f71c67bef9"),
    Repository("python", "lepture/mistune", "b5dd9949baf3729a709ef8ae591eab86e72a9e46"),
    Repository("node", "reduxjs/reselect", "93bb49091fc5e0e0569c745a7240df433548f386"),
    Repository("python", "frostming/marko", "0fa0b29b670feca15558652f327bc20c3baee91b"),
    Repository("native", "yaml/libyaml", "840b65c40675e2d06bf40405ad3f12dec7f35923"),
    Repository("go", "google/go-cmp", "b133f1f1932e48f466f597a3346ce6f5a49a0dc1"),
    Repository("node", "pmndrs/zustand", "f094eebe9bd3b4b0d77b997f69ab1d273f69a877"),
    Repository("python", "python-poetry/poetry-core", "c4d922c3183763f19b790c5123b5f9d4f5fa9eaf"),
    Repository("python", "mahmoud/boltons", "967864f89791509f9eb36b22b4579d36b72a6df2"),
    Repository("node", "slevithan/xregexp", "4e13762aca377d6be08400e6b8f4004929809791"),
    Repository("elixir", "elixir-plug/mime", "354c42636eada31d2cfc41717f9256677689a919", "hex.pm"),
    Repository("elixir", "phoenixframework/phoenix_pubsub", "6ff3cd44c94a36e3f0cd607ab2b12dc7efdf1cdb", "hex.pm"),
    Repository("java", "apache/commons-lang", "d15939ef46f0bd4144994df8be95cf5a7f91eb52", "repo.maven.apache.org"),
    Repository("dotnet", "serilog/serilog", "60935b4d7abad71cf6157b45a10f5c3c65ead527", "api.nuget.org"),
    Repository("php", "Seldaek/monolog", "57eb1028342134e701e77c617565d51b6e5a2a53", "repo.packagist.org"),
    Repository("go", "spf13/cobra", "adbc8813901bba65827259daa8e22ff94ec1f30e", "proxy.golang.org"),
    Repository("ruby", "rack/rack", "8bf4eb078498edc9105fb04add80d89c5340e60b", "rubygems.org"),
    Repository("rust", "sharkdp/hexyl", "8eb6d4771ce1ec7af65d06bd335457783b77d557", "index.crates.io"),
)
_BUILD_SECONDS = 1500.0


@dataclass(frozen=True)
class Row:
    """What came of one repository."""

    name: str
    commit: str
    ecosystem: str
    sources: str
    cold_seconds: float
    cached_seconds: float
    gate: str
    ending: str
    """Of the first command that ran; else of the first one."""
    tests: int | None
    failed: int
    untouched: bool
    why: str
    """What kept it from running."""

    @property
    def runs(self) -> bool:
        """Return whether a gate command ran."""
        return self.ending in {"passed", "failed"}


def main() -> int:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mirrors", nargs="+", type=Path, help="folders with local copies of the repositories")
    parser.add_argument("--engine", default="auto", choices=["auto", "docker", "bubblewrap"])
    parser.add_argument("--image", help="what containers are made from, where images of the languages cannot be pulled")
    parser.add_argument("--jobs", type=int, default=1, help="repositories at a time; more than one makes times longer")
    parser.add_argument("--only", nargs="*", default=[], metavar="NAME", help="only these repositories")
    parser.add_argument("--results", type=Path, help="keep rows here, and leave out what is there")
    parser.add_argument("--keep", type=Path, help="work in this folder, and leave it")
    given = parser.parse_args()
    done = {row.name: row for row in _kept(given.results)}
    folder = given.keep or Path(tempfile.mkdtemp(prefix="codexteam-environments-"))
    folder.mkdir(parents=True, exist_ok=True)
    folder = folder.resolve()
    wanted = [each for each in REPOSITORIES if not given.only or each.name in given.only]
    unreached = {host for host in {each.registry for each in wanted} if host and not _is_reached(host)}
    left_out = [each for each in wanted if each.registry in unreached]
    try:
        with ThreadPoolExecutor(given.jobs) as pool:
            waiting = [
                pool.submit(_measured, each, mirror, folder, _options(given.engine, given.image))
                for each in wanted
                if each.name not in done and each not in left_out
                if (mirror := _mirror(given.mirrors, each.name)) is not None
            ]
            for each in as_completed(waiting):
                row = each.result()
                print(f"{row.name}: {row.ending} {row.why}", file=sys.stderr, flush=True)
                done[row.name] = row
                if given.results is not None:
                    with given.results.open("a", encoding="utf-8") as file:
                        file.write(json.dumps(asdict(row)) + "\n")
    finally:
        if given.keep is None:
            subprocess.run(["chmod", "-R", "u+w", str(folder)], check=False)
            shutil.rmtree(folder, ignore_errors=True)
    order = [each.name for each in REPOSITORIES]
    rows = sorted((row for row in done.values() if row.name in order), key=lambda row: order.index(row.name))
    print("\n".join(_table(rows)))
    for known in left_out:
        print(f"Not tried: {known.name} ({known.ecosystem}); {known.registry} cannot be reached from this machine.")
    return 0


def _is_reached(host: str) -> bool:
    try:
        with socket.create_connection((host, 443), timeout=10):
            return True
    except OSError:
        return False


def _kept(path: Path | None) -> Iterator[Row]:
    if path is not None and path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            yield Row(**json.loads(line))


def _mirror(folders: Sequence[Path], name: str) -> Path | None:
    plain = (name.replace("/", "+") + "/repo", name, name.partition("/")[2])
    return next((path for folder in folders for each in plain if (path := folder / each).exists()), None)


def _options(engine: str, image: str | None) -> list[str]:
    found = ["-c", f'codexteam.sandbox.kind="{engine}"']
    return [*found, "-c", f'codexteam.sandbox.image="{image}"'] if image else found


def _measured(taken: Repository, mirror: Path, folder: Path, options: Sequence[str]) -> Row:
    ecosystem, name, commit, _ = taken
    clone = folder / name.replace("/", "-")
    subprocess.run(["git", "clone", "-q", "--no-checkout", str(mirror), str(clone)], check=True)
    subprocess.run(["git", "checkout", "-q", "--detach", commit], cwd=clone, check=True)
    (folder / "codex").mkdir(exist_ok=True)
    environment = {**os.environ, "CODEX_HOME": str(folder / "codex"), "XDG_CACHE_HOME": str(folder / "cache")}
    line = [sys.executable, "-m", "codexteam", *options, "env", "build", "--json"]
    cold_seconds, found = _run(line, clone, environment)
    cached_seconds, _ = _run(line, clone, environment) if found.get("built") else (0.0, {})
    status = subprocess.run(
        ["git", "status", "--porcelain", "--ignored"], cwd=clone, check=True, capture_output=True, text=True
    ).stdout
    shutil.rmtree(clone, ignore_errors=True)
    gates = found.get("gates", [])
    ran = [gate for gate in gates if gate["ending"] in {"passed", "failed"}]
    gate: dict[str, Any] = next(iter(ran or gates), {})
    problem = str(found.get("problem") or found.get("message") or "")
    reason = str(gate.get("reason") or "")
    return Row(
        name,
        commit,
        ecosystem,
        ", ".join(source["where"] for source in found.get("sources", []) if source["used"]),
        round(cold_seconds, 1),
        round(cached_seconds, 1),
        str(gate.get("command", "")),
        str(gate.get("ending") or "not tried"),
        gate.get("tests"),
        int(gate.get("failed") or 0),
        not status,
        "" if ran else (problem or reason or "no test command was found"),
    )


def _run(line: Sequence[str], folder: Path, environment: dict[str, str]) -> tuple[float, dict[str, Any]]:
    """Return how long it took and its last record."""
    begun = time.monotonic()
    try:
        done = subprocess.run(
            line, cwd=folder, env=environment, capture_output=True, text=True, timeout=_BUILD_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return time.monotonic() - begun, {"problem": f"not done within {_BUILD_SECONDS:.0f} s"}
    records = [json.loads(each) for each in done.stdout.splitlines() if each.startswith("{")]
    found = records[-1] if records else {"problem": done.stderr.strip()[-200:]}
    said = [str(each["output"]) for each in records if each.get("type") == "environment.failed"]
    if said and found.get("problem"):
        lines = [
            each.strip()
            for each in said[-1].splitlines()
            if re.search(r"error|cannot|could not|not found", each, re.IGNORECASE)
        ]
        found["problem"] = f"its set-up fails: {(lines or said[-1].splitlines() or [''])[0][:200]}"
    return time.monotonic() - begun, found


def _table(rows: Sequence[Row]) -> Iterator[str]:
    yield "| repository | commit | ecosystem | cold | kept | first gate command that runs | tests | failed | untouched |"
    yield "| --- | --- | --- | ---: | ---: | --- | ---: | ---: | --- |"
    for row in rows:
        gate = f"`{row.gate.splitlines()[0]}`" if row.runs else f"none: {row.why}"
        shown = gate.replace("|", "\\|")[:160]
        tests = row.tests if row.runs and row.tests is not None else ""
        failed = row.failed if row.runs else ""
        cached = f"{row.cached_seconds:.0f} s" if row.cached_seconds else ""
        yield (
            f"| {row.name} | {row.commit[:10]} | {row.ecosystem} | {row.cold_seconds:.0f} s | {cached} | {shown} "
            f"| {tests} | {failed} | {'yes' if row.untouched else 'NO'} |"
        )
    run = [row for row in rows if row.runs]
    green = [row for row in run if row.ending == "passed"]
    kinds = {row.ecosystem for row in run}
    yield ""
    yield f"{len(run)} of {len(rows)} run, in {len(kinds)} ecosystems; {len(green)} of those pass."


if __name__ == "__main__":
    sys.exit(main())
