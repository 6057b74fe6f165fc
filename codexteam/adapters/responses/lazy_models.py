"""Imports the `openai` package without most of its 470 modules of response models, which nothing here uses.

They are half of the time that its import takes, and a run's first request waits for it. Whoever asks such a package for
a model gets it as ever: it is loaded then.
"""

import importlib
import sys
import threading
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

_MODELS = "openai.types"
#: Packages that do nothing but import models.
_PACKAGES = frozenset({_MODELS, *(f"{_MODELS}.{name}" for name in ("chat", "responses", "shared", "shared_params"))})


class _LoadedWhenAsked(Loader):
    """Makes a package whose own code runs once something other than a module is looked up in it."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader
        self._lock = threading.RLock()

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        def look_up(name: str) -> object:
            if name.startswith("__"):
                raise AttributeError(name)
            with self._lock:
                if module.__dict__.pop("__getattr__", None) is not None:
                    self._loader.exec_module(module)
            try:
                return module.__dict__[name]
            except KeyError:
                raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}") from None

        module.__dict__["__getattr__"] = look_up


class _Finder(MetaPathFinder):
    """Finds those packages; everything else is others' to find."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = PathFinder.find_spec(fullname, path, target) if fullname in _PACKAGES else None
        if spec is not None and spec.loader is not None:
            spec.loader = _LoadedWhenAsked(spec.loader)
        return spec


def load_models_when_asked() -> None:
    """Let the imports of `openai` that follow leave its models out; may be repeated."""
    if not any(isinstance(each, _Finder) for each in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


def import_client() -> None:
    """Import what a client needs and no more; takes half a second, and may be repeated."""
    load_models_when_asked()
    for module in ("httpx2", "aiohttp", "openai", "openai.lib._client_auth"):
        importlib.import_module(module)
