"""Who asks: the name that the operating system has for an account."""

import os
import pwd


def person() -> str:
    """Return the name of this process's account: a variable says whatever anybody sets."""
    return name_of(os.getuid())


def name_of(user: int) -> str:
    """Return the name of an account by its number."""
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:  # as in a container that was started under a number
        return f"user {user}"
