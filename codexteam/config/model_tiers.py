"""The two tiers of models, `deep` and `fast`: one place to choose the model for each kind of work.

A role, `model` and `-m` may name a tier in the place of a model. A role that names neither, and one that ships, gets the
model of its tier where `[codexteam.models]` names one, unless `model` is set in a higher layer, as by `-m`.
"""

from collections.abc import Sequence

from codexteam.config.layers import Layer, MergedLayers
from codexteam.config.locations import DEFAULT_MODEL, FAST_ROLES
from codexteam.config.settings import ModelTiers

_DEEP, _FAST = "deep", "fast"
#: What counts over a tier when it is said in a higher layer.
_RIVALS = (("model",), ("agents", "default_subagent_model"))


def tier_of(role: str) -> str:
    """Return the tier of a role that names no model."""
    return _FAST if role in FAST_ROLES else _DEEP


def is_tier(model: str) -> bool:
    """Return whether a model's name is that of a tier."""
    return model in {_DEEP, _FAST}


def model_of(name: str, tiers: ModelTiers) -> str:
    """Return the model that a name means: a tier's, or the one of that name."""
    if not is_tier(name):
        return name
    return (tiers.deep if name == _DEEP else tiers.fast) or DEFAULT_MODEL


def whole_tiers(merged: MergedLayers, tiers: ModelTiers) -> ModelTiers:
    """Return tiers that both have a model: what `model` says where `deep` is not set, and `deep` where `fast` is not."""
    said = merged.text("model")
    deep = tiers.deep or (said if said and not is_tier(said) else DEFAULT_MODEL)
    return ModelTiers(deep, tiers.fast or deep, check=tiers.check)


def tiers_for_roles(merged: MergedLayers, layers: Sequence[Layer], tiers: ModelTiers) -> ModelTiers:
    """Return the tiers that count for roles which name none: those that no `model` of a higher layer hides."""
    return ModelTiers(
        deep=tiers.deep if _counts(merged, layers, _DEEP) else None,
        fast=tiers.fast if _counts(merged, layers, _FAST) else None,
        check=tiers.check,
    )


def _counts(merged: MergedLayers, layers: Sequence[Layer], tier: str) -> bool:
    own = _height(merged, layers, ("codexteam", "models", tier))
    return own >= 0 and all(_height(merged, layers, path) <= own for path in _RIVALS)


def _height(merged: MergedLayers, layers: Sequence[Layer], path: tuple[str, ...]) -> int:
    layer = merged.origins.get(path)
    return -1 if layer is None else next((at for at, known in enumerate(layers) if known is layer), -1)
