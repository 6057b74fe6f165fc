"""What benchmarks that start the real command begin with: a repository, and a configuration that asks a loopback server."""

import subprocess
from pathlib import Path


def commit_all(root: Path) -> None:
    """Make a folder a repository whose one commit has all that is in it."""
    for argv in (("init", "-q"), ("add", "."), ("-c", "user.name=b", "-c", "user.email=b@x", "commit", "-qm", "b")):
        subprocess.run(("git", *argv), cwd=root, check=True)


def write_provider(home: Path, base_url: str, model: str = "bench") -> None:
    """Write a `config.toml` whose only provider is the server at `base_url`."""
    (home / "config.toml").write_text(
        f'model = "{model}"\nmodel_provider = "bench"\n[model_providers.bench]\nname = "bench"\nbase_url = "{base_url}"\n'
    )
