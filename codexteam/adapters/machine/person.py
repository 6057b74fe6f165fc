"""Who asks: the name that the operating system has for the user of this process."""

import os
import pwd


def person() -> str:
    """Return the account's name. It is looked up by the process's user, as a variable says whatever anybody sets."""
    user = os.getuid()
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:  # as in a container that was started under a number
        return f"user {user}"
