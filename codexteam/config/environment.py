"""The only place that reads the process's environment; everything else takes it as an argument."""

import os
from collections.abc import Mapping
from types import MappingProxyType


def read_environment() -> Mapping[str, str]:
    """Give a snapshot of the environment that nothing can write."""
    return MappingProxyType(dict(os.environ))
