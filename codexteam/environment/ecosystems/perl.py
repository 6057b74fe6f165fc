"""Perl: the modules that a distribution's metadata names, in a library of ours; compiled parts are built in the tree."""

import re

from codexteam.environment.documents import Documents, join
from codexteam.environment.plan import BIN, CACHE, HOME, Ecosystem, Offer, SetupStep, TestCommand, Toolchain

MANIFESTS = ("cpanfile", "Makefile.PL", "Build.PL", "dist.ini")
_LIBRARY = f"{HOME}/perl5"
_CPANM = "cpanm --notest --quiet --local-lib"


def offer(documents: Documents, folder: str = "") -> Offer:
    """Return what a Perl distribution needs; an empty offer where there is none."""
    manifest = documents.first(folder, MANIFESTS)
    if manifest is None:
        return Offer()
    prefix = f"{folder}/" if folder else ""
    listed = [path[len(prefix) :] for path in documents.view.paths if path.startswith(prefix)]
    tests = any(re.match(r"t/.*\.t$", path) for path in listed)
    builder = next((name for name in ("Makefile.PL", "Build.PL") if name in listed), "")
    compiled = bool(builder) and any(path.endswith(".xs") for path in listed)
    reads = tuple(join(folder, name) for name in MANIFESTS if name in listed)
    steps = [
        # most distributions need nothing that Perl itself has not: what is missing then, the tests say
        SetupStep(_BRING_CPANM, manifest, Ecosystem.PERL, optional=True),
        SetupStep(f"{_CPANM} {_LIBRARY} --installdeps .", manifest, Ecosystem.PERL, folder, reads, optional=True),
    ]
    if compiled:
        build = "perl Makefile.PL && make" if builder == "Makefile.PL" else "perl Build.PL && ./Build"
        steps.append(SetupStep(build, join(folder, builder), Ecosystem.PERL, folder, reads))
    version = re.search(
        r"(?:MIN_PERL_VERSION\s*=>|requires\s+'perl',|^use)\s*'?v?5\.(\d{3}|\d{1,2})\b",
        documents.text(manifest),
        re.MULTILINE,
    )
    return Offer(
        tuple(steps),
        toolchains=(
            Toolchain(
                Ecosystem.PERL,
                f"5.{int(version[1])}" if version else "",
                manifest if version else "",
                ("perl", "prove", *(("make", "cc") if compiled else ())),
                "install perl (Debian: perl, cpanminus and build-essential), or use the docker engine",
            ),
        ),
        variables={"PERL5LIB": f"{_LIBRARY}/lib/perl5", "PERL_LOCAL_LIB_ROOT": _LIBRARY},
        setup_variables={
            "PERL_CPANM_HOME": f"{CACHE}/cpanm",
            "PERL_MM_USE_DEFAULT": "1",
            "NONINTERACTIVE_TESTING": "1",
        },
        paths=(f"{_LIBRARY}/bin", BIN),
        test_commands=tuple(_tests(folder, manifest, builder, compiled=compiled)) if tests else (),
    )


#: `cpan` comes with Perl, asks questions and installs into the system; it is used once, for what does neither.
_BRING_CPANM = f"""
command -v cpanm >/dev/null && exit 0
command -v cpan >/dev/null || {{ echo "there is neither cpanm nor cpan here"; exit 1; }}
mkdir -p {BIN}
export PERL_MM_OPT="INSTALL_BASE={_LIBRARY}" PERL_MB_OPT="--install_base {_LIBRARY}"
timeout 300 cpan -T App::cpanminus
""".strip()


def _tests(folder: str, manifest: str, builder: str, *, compiled: bool) -> list[TestCommand]:
    if not compiled:
        return [TestCommand("prove -lr t", f"{manifest} and t", folder)]
    make = "make test" if builder == "Makefile.PL" else "./Build test"
    return [TestCommand(make, join(folder, builder), folder), TestCommand("prove -br t", f"{manifest} and t", folder)]
