"""Rust: the crates of `Cargo.lock`, and the tests built once."""

from codexteam.environment import toolchains
from codexteam.environment.documents import Documents, dig, join
from codexteam.environment.plan import HOME, Ecosystem, Offer, SetupStep, TestCommand, Toolchain

MANIFESTS = ("Cargo.toml",)


def offer(documents: Documents, folder: str = "") -> Offer:
    """Return what a Cargo package or workspace needs; an empty offer where there is none."""
    manifest = join(folder, "Cargo.toml")
    found = documents.toml(manifest)
    if not found:
        return Offer()
    wanted = toolchains.rust(documents.view)
    lock = join(folder, "Cargo.lock")
    locked = documents.has(lock) and bool(documents.toml(lock))
    workspace = " --workspace" if dig(found, "workspace") is not None else ""
    prefix = f"{folder}/" if folder else ""
    members = [
        path
        for path in documents.view.paths
        if path.startswith(prefix) and path.endswith("Cargo.toml") and path != manifest
    ]
    names = (lock, manifest, "rust-toolchain.toml", "rust-toolchain", ".cargo/config.toml", *members)
    reads = tuple(name for name in names if documents.has(name))
    fetch = "cargo fetch --locked || cargo fetch" if locked else "cargo fetch"
    return Offer(
        (
            SetupStep(fetch, lock if locked else manifest, Ecosystem.RUST, folder, reads),
            SetupStep(f"cargo test{workspace} --no-run", manifest, Ecosystem.RUST, folder, reads, optional=True),
        ),
        toolchains=(
            Toolchain(
                Ecosystem.RUST,
                wanted.version,
                wanted.source,
                ("cargo", "rustc"),
                "install Rust with rustup, or use the docker engine, whose images have it",
            ),
        ),
        variables={"CARGO_HOME": f"{HOME}/cargo"},
        offline_variables={"CARGO_NET_OFFLINE": "true"},
        paths=(f"{HOME}/cargo/bin",),
        test_commands=(TestCommand(f"cargo test{workspace}", manifest, folder),),
        notices=(wanted.notice,) if wanted.notice else (),
    )
