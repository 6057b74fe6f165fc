""".NET: the packages of a solution, or of its projects, and one build."""

from codexteam.environment import toolchains
from codexteam.environment.documents import Documents
from codexteam.environment.mirrors import NUGET_FILE
from codexteam.environment.plan import (
    HOME,
    SETUP_USER_HOME,
    WRITTEN,
    Ecosystem,
    Offer,
    SetupStep,
    TestCommand,
    Toolchain,
)

_PROJECTS = (".csproj", ".fsproj", ".vbproj")
_SOLUTIONS = (".sln", ".slnx")

#: The user's sources, with what they may hold of credentials: of this set-up alone.
_SETTINGS = (
    f"[ -r /run/secrets/{NUGET_FILE} ] || exit 0\nmkdir -p {SETUP_USER_HOME}/.nuget/NuGet\n"
    f"ln -sf /run/secrets/{NUGET_FILE} {SETUP_USER_HOME}/.nuget/NuGet/NuGet.Config"
)


def is_build(name: str) -> bool:
    """Return whether a file's name is that of a solution or project."""
    return name.endswith((*_SOLUTIONS, *_PROJECTS))


def offer(documents: Documents, folder: str = "") -> Offer:
    """Return what a .NET solution needs; an empty offer where there is none."""
    prefix = f"{folder}/" if folder else ""
    below = [path for path in documents.view.paths if path.startswith(prefix)]
    here = [path for path in below if "/" not in path[len(prefix) :]]
    builds = [path for path in here if path.endswith(_SOLUTIONS)] or [path for path in here if path.endswith(_PROJECTS)]
    if not builds:
        return Offer()
    wanted = toolchains.dotnet(documents.view)
    chosen = min(builds, key=lambda path: (not path.endswith(".sln"), path))
    target = f" '{chosen[len(prefix) :]}'" if len(builds) > 1 else ""
    names = ("global.json", "Directory.Packages.props", "Directory.Build.props", "packages.lock.json")
    reads = tuple(
        path
        for path in below
        if is_build(path) or path.rpartition("/")[2] in names or path.lower().endswith("nuget.config")
    )
    locked = any(path.endswith("packages.lock.json") for path in reads)
    restore = f"dotnet restore{target}"
    notices = (f"{', '.join(builds)}: {chosen} is used",) if len(builds) > 1 else ()
    return Offer(
        (
            SetupStep(_SETTINGS, chosen, Ecosystem.DOTNET),
            SetupStep(
                f"{restore} --locked-mode || {restore}" if locked else restore, chosen, Ecosystem.DOTNET, folder, reads
            ),
            SetupStep(f"dotnet build{target} --no-restore", chosen, Ecosystem.DOTNET, folder, reads, optional=True),
        ),
        toolchains=(
            Toolchain(
                Ecosystem.DOTNET,
                wanted.version,
                wanted.source,
                ("dotnet",),
                f"install the .NET SDK {wanted.version}, or use the docker engine, whose images have it",
            ),
        ),
        variables={
            "NUGET_PACKAGES": f"{HOME}/nuget",
            "DOTNET_CLI_HOME": f"{WRITTEN}/dotnet",
            "DOTNET_CLI_TELEMETRY_OPTOUT": "1",
            "DOTNET_NOLOGO": "1",
        },
        test_commands=(TestCommand(f"dotnet test{target} --no-restore", chosen, folder),),
        notices=(*((wanted.notice,) if wanted.notice else ()), *notices),
    )
