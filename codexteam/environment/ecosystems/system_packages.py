"""Packages of the distribution that a CI job installs: one step for engines with root, by name."""

from collections.abc import Sequence

from codexteam.environment.plan import Ecosystem, SetupStep


def packages_step(names: Sequence[str], source: str) -> SetupStep:
    """Return the step that installs what is missing of Debian's packages; one that it does not have is not the end.

    Args:
        names: packages, as a job of CI names them: often those of another release.
        source: the job.
    """
    wanted = " ".join(names)
    install = "apt-get install -y -qq --no-install-recommends"
    command = f"""
command -v apt-get >/dev/null || {{ echo "there is no apt-get here, so these are not installed: {wanted}"; exit 1; }}
missing=
for name in {wanted}; do dpkg -s "$name" >/dev/null 2>&1 || missing="$missing $name"; done
[ -n "$missing" ] || exit 0
apt-get update -qq
{install} $missing || for name in $missing; do {install} "$name" || echo "not installed: $name"; done
rm -rf /var/lib/apt/lists/*
""".strip()
    return SetupStep(
        command,
        source,
        Ecosystem.OTHER,
        optional=True,
        variables={"DEBIAN_FRONTEND": "noninteractive"},
        needs_root=True,
    )
