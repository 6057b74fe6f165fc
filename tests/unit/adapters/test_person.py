"""Who asks, as the operating system says."""

import os
import pwd

import pytest

from codexteam.adapters.machine.person import person


def test_variables_do_not_change_who_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME", "SUDO_USER"):
        monkeypatch.setenv(name, "somebody-else")
    assert person() == pwd.getpwuid(os.getuid()).pw_name
