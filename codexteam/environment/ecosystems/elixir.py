"""Elixir: hex and rebar, and the packages of `mix.lock`, built for tests."""

import re

from codexteam.environment.documents import Documents, join
from codexteam.environment.plan import HOME, Ecosystem, Offer, SetupStep, TestCommand, Toolchain

MANIFESTS = ("mix.exs",)


def offer(documents: Documents, folder: str = "") -> Offer:
    """Return what a Mix project needs; an empty offer where there is none."""
    manifest = join(folder, "mix.exs")
    if not documents.has(manifest):
        return Offer()
    lock = join(folder, "mix.lock")
    reads = (manifest, *((lock,) if documents.has(lock) else ()))
    fetch = "mix deps.get --check-locked || mix deps.get" if documents.has(lock) else "mix deps.get"
    version = re.search(r"""elixir:\s*["'][^\d"']*(\d+\.\d+)""", documents.text(manifest))
    return Offer(
        (
            # not all packages need them; where one does, fetching it says so
            SetupStep(
                "mix local.hex --force --if-missing && mix local.rebar --force --if-missing",
                manifest,
                Ecosystem.ELIXIR,
                optional=True,
            ),
            SetupStep(fetch, lock if documents.has(lock) else manifest, Ecosystem.ELIXIR, folder, reads),
            SetupStep("MIX_ENV=test mix compile", manifest, Ecosystem.ELIXIR, folder, reads, optional=True),
        ),
        toolchains=(
            Toolchain(
                Ecosystem.ELIXIR,
                version[1] if version else "",
                manifest if version else "",
                ("elixir", "mix"),
                "install elixir (Debian: elixir and erlang-dev), or use the docker engine, whose images have it",
            ),
        ),
        variables={"MIX_HOME": f"{HOME}/mix", "HEX_HOME": f"{HOME}/hex"},
        offline_variables={"HEX_OFFLINE": "1"},
        test_commands=(TestCommand("mix test", manifest, folder),),
    )
