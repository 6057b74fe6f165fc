"""What a ledger's accounts say, in the units of people."""

from codexteam.core.budget import BudgetAccount, Ledger
from codexteam.core.budget_amounts import Unit, human_amount


def spent(ledger: Ledger, unit: Unit = Unit.TOKENS, kind: str = "run", name: str = "") -> float:
    """Return what was spent under a scope: `run`, or `role` or `task` with a name."""
    account = ledger.accounts.get((kind, name), BudgetAccount({}))
    return human_amount(unit, account.spent[unit])


def held_tokens(ledger: Ledger) -> int:
    """Return the tokens that are set aside for calls on their way."""
    return ledger.accounts.get(("run", ""), BudgetAccount({})).held[Unit.TOKENS]


def left(ledger: Ledger, unit: Unit) -> float:
    """Return what is left of the run's limit, reservations taken off."""
    account = ledger.accounts[("run", "")]
    return human_amount(unit, account.limits[unit] - account.spent[unit] - account.held[unit])
