"""CMake, Meson and make: built once, in a folder of the tree that git does not track."""

import re

from codexteam.environment.documents import Documents, join
from codexteam.environment.ecosystems.uv_bootstrap import uv_step
from codexteam.environment.plan import BIN, TOOLS, Ecosystem, Offer, SetupStep, TestCommand, Toolchain

MANIFESTS = ("CMakeLists.txt", "meson.build", "Makefile", "makefile", "GNUmakefile", "configure.ac", "configure")
MAKEFILES = ("GNUmakefile", "makefile", "Makefile")
_TARGETS = ("test", "check", "tests", "unit-test", "test-unit")


def offer(documents: Documents, folder: str = "") -> Offer:
    """Return what a build by CMake, Meson or make needs; an empty offer where there is none."""
    if documents.has(join(folder, "CMakeLists.txt")):
        return _cmake(documents, folder)
    if documents.has(join(folder, "meson.build")):
        return _meson(documents, folder)
    makefile = documents.first(folder, MAKEFILES)
    configure = documents.first(folder, ("configure", "configure.ac"))
    tests = make_tests(documents, folder)
    if not tests and configure is None:
        return Offer()
    return _make(documents, folder, makefile, configure)


def make_tests(documents: Documents, folder: str) -> tuple[TestCommand, ...]:
    """Return the targets of a makefile that run tests."""
    path = documents.first(folder, MAKEFILES)
    if path is None:
        return ()
    targets = make_targets(documents.text(path))
    return tuple(TestCommand(f"make {name}", f"{path} {name}", folder) for name in _TARGETS if name in targets)


def make_targets(text: str) -> dict[str, str]:
    """Return a makefile's targets with the lines that they run."""
    found: dict[str, str] = {}
    names: list[str] = []
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        if line.startswith("\t"):
            for name in names:
                found[name] += f"{line.strip().lstrip('@-').strip()}\n"
            continue
        rule = re.match(r"^([\w./ -]+?)\s*::?(?!=)(.*)$", line)
        if rule:
            names = rule[1].split()
            for name in names:
                found.setdefault(name, "")
                # what it depends on runs before it
                found[name] += "".join(
                    f"make {each}\n" for each in rule[2].split("#")[0].split() if re.fullmatch(r"[\w-]+", each)
                )
        elif line.strip() and not line.startswith(("#", " ")):
            names = []
    return found


def _tools(*programs: str) -> Toolchain:
    return Toolchain(
        Ecosystem.NATIVE,
        "",
        "",
        programs,
        "install build-essential (and cmake, ninja-build or meson where they are missing), or use the docker engine",
    )


def _build_folder(documents: Documents, folder: str) -> str:
    """Return a folder for what is built, relative to the project's: a usual name under which nothing is tracked."""
    taken = {
        path[len(folder) :].lstrip("/").partition("/")[0] for path in documents.view.paths if path.startswith(folder)
    }
    return next(name for name in ("build", "cmake-build-debug", ".codexteam-build") if name not in taken)


def _cmake(documents: Documents, folder: str) -> Offer:
    path = join(folder, "CMakeLists.txt")
    build = _build_folder(documents, folder)
    presets = join(folder, "CMakePresets.json")
    text = documents.text(path)
    project = re.search(r"^\s*project\s*\(\s*([\w-]+)", text, re.IGNORECASE | re.MULTILINE)
    # many projects have a switch of their own
    name = re.escape(project[1]) if project else r"\w+"
    switch = rf"^\s*option\s*\(\s*((?:{name}_)?(?:BUILD_|ENABLE_)?(?:UNIT_?)?TEST(?:S|ING)?)\s"
    switches = re.findall(switch, text, re.IGNORECASE | re.MULTILINE)
    switches += re.findall(
        rf"^\s*option\s*\(\s*({name}_BUILDTESTS|{name}_BuildTests)\s", text, re.MULTILINE | re.IGNORECASE
    )
    chosen = dict.fromkeys(["BUILD_TESTING", *switches[:4]])
    options = " ".join(f"-D{name}=ON" for name in chosen)
    configure = f"cmake -S . -B {build} -DCMAKE_BUILD_TYPE=Debug {options}"
    reads = tuple(
        each for each in documents.view.paths if each.endswith(("CMakeLists.txt", ".cmake")) or each == presets
    )
    compile_ = f"cmake --build {build} -j {_JOBS}"
    return Offer(
        (
            SetupStep(_install_tools("cmake", "ninja"), path, Ecosystem.NATIVE, optional=True),
            SetupStep(
                configure, f"{path}{f' project {project[1]}' if project else ''}", Ecosystem.NATIVE, folder, reads
            ),
            SetupStep(compile_, path, Ecosystem.NATIVE, folder, reads, optional=True),
        ),
        toolchains=(_tools("cmake", "make", "c++"),),
        offline_variables={"FETCHCONTENT_FULLY_DISCONNECTED": "ON"},
        test_commands=(
            TestCommand(
                f"cmake --build {build} -j {_JOBS} && ctest --test-dir {build} --output-on-failure", path, folder
            ),
        ),
        hosts=("github.com", "codeload.github.com") if re.search(r"FetchContent|ExternalProject", text) else (),
    )


_JOBS = "2"


def _install_tools(*programs: str) -> str:
    """Return a line that takes build tools from the Python registry where a machine has none."""
    return f"""
missing=
for name in {" ".join(programs)}; do command -v "$name" >/dev/null || missing="$missing $name"; done
[ -n "$missing" ] || exit 0
mkdir -p {BIN}
(
{uv_step("").command}
)
export UV_TOOL_DIR={TOOLS}/native UV_TOOL_BIN_DIR={BIN}
for name in $missing; do uv tool install --quiet "$name"; done
""".strip()


def _meson(documents: Documents, folder: str) -> Offer:
    path = join(folder, "meson.build")
    build = _build_folder(documents, folder)
    reads = tuple(each for each in documents.view.paths if each.endswith(("meson.build", "meson_options.txt", ".wrap")))
    return Offer(
        (
            SetupStep(_install_tools("meson", "ninja"), path, Ecosystem.NATIVE, optional=True),
            SetupStep(f"meson setup {build}", path, Ecosystem.NATIVE, folder, reads),
            SetupStep(f"meson compile -C {build}", path, Ecosystem.NATIVE, folder, reads, optional=True),
        ),
        toolchains=(_tools("meson", "ninja", "cc"),),
        test_commands=(TestCommand(f"meson test -C {build}", path, folder),),
    )


def _make(documents: Documents, folder: str, makefile: str | None, configure: str | None) -> Offer:
    steps = []
    source = makefile or configure or ""
    reads = tuple(path for path in (makefile, configure) if path is not None)
    compiled = any(path.endswith((".c", ".cc", ".cpp", ".cxx")) for path in documents.view.paths)
    if configure is not None and makefile is None:
        generate = "" if configure.endswith("configure") else "autoreconf -fi && "
        steps.append(SetupStep(f"{generate}./configure", configure, Ecosystem.NATIVE, folder, reads))
    if compiled:
        steps.append(SetupStep(f"make -j {_JOBS}", source, Ecosystem.NATIVE, folder, reads, optional=True))
    tests = make_tests(documents, folder) or (TestCommand("make check", source, folder),)
    return Offer(tuple(steps), toolchains=(_tools("make", *(("cc",) if compiled else ())),), test_commands=tests)
