"""How many files may be open: a shell's usual 1,024 are fewer than a large team's sandboxes and connections take."""

import resource

#: As many as an agent's command may have open in a container, which a command without one inherits from here.
ENOUGH = 8192


def allow_open_files() -> None:
    """Raise this process's limit, as far as the system lets it and no further than is needed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = ENOUGH if hard == resource.RLIM_INFINITY else min(ENOUGH, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
