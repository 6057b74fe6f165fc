"""What makes codexteam stop, and the exit code each of it ends with.

    CodexteamError                 1  cannot go on; the message is for the user, `hint` says what to do next
    ├─ UsageError                  2  a wrong flag or argument that the parser cannot see
    ├─ ConfigError                 2  config.toml, a role file, a flag: file, line, key, found, allowed
    ├─ PlanError                   2  plan.md: line and task
    │  └─ PlanCycleError              the cycle, spelled out
    ├─ SurroundingsError           6  what is around the program: engine, git, credentials, disk
    │  ├─ SandboxUnavailable          no engine answers, no image
    │  ├─ SandboxLost                 the sandbox went away under its agent
    │  ├─ ModelAccessError            401, 403, unknown model, quota gone
    │  ├─ RepoError                   not a repository, no commits, git too old
    │  ├─ StoreError                  the state file cannot be read or written
    │  │  └─ StoreVersionError        written by a newer codexteam
    │  └─ RepositoryBusyError         another run works on this repository
    ├─ BudgetExceededError         4  a limit is reached before anything could start
    ├─ LandingError                7  merge, push or pull request failed
    └─ InternalError               1  a bug: names the events that led to it
       └─ InvalidTransitionError

Expected outcomes (a conflict, red tests, a spent budget, a refusal, a timeout) are values, not errors.
"""


class CodexteamError(Exception):
    """Cannot go on. `str()` is the message for the user; `hint` is what to do next, or empty."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class UsageError(CodexteamError):
    """A command line that parses but cannot be meant."""

    exit_code = 2


class ConfigError(CodexteamError):
    """Configuration that cannot be used."""

    exit_code = 2


class PlanError(CodexteamError):
    """A plan that cannot be read or does not hold together; `task_id` where it is one task's fault."""

    exit_code = 2

    def __init__(self, message: str, *, hint: str = "", task_id: str = "") -> None:
        super().__init__(message, hint=hint)
        self.task_id = task_id


class PlanCycleError(PlanError):
    """Tasks that wait for each other."""


class SurroundingsError(CodexteamError):
    """Something around the program is missing or broken."""

    exit_code = 6


class SandboxUnavailable(SurroundingsError):  # noqa: N818 - reads as what it is
    """No sandbox can be started: no engine answers, no image, no bubblewrap."""


class SandboxLost(SurroundingsError):  # noqa: N818
    """The sandbox went away under its agent; its last snapshot is what is left."""


class ModelAccessError(SurroundingsError):
    """The model service will not serve us: credentials, permission, model name or quota."""

    def __init__(self, message: str, *, hint: str = "", may_be_billed: bool = False) -> None:
        """`may_be_billed`: it was said in a stream that had opened, and the service may want money for that."""
        super().__init__(message, hint=hint)
        self.may_be_billed = may_be_billed


class RepoError(SurroundingsError):
    """Git or the repository is not as it must be."""


class StoreError(SurroundingsError):
    """The state file cannot be read or written."""


class StoreVersionError(StoreError):
    """The state file was written by a newer codexteam."""


class RepositoryBusyError(SurroundingsError):
    """Another codexteam process works on this repository."""


class BudgetExceededError(CodexteamError):
    """A limit is reached before anything could start."""

    exit_code = 4


class LandingError(CodexteamError):
    """The result could not be merged, pushed or proposed."""

    exit_code = 7


class InternalError(CodexteamError):
    """A bug in codexteam."""


class InvalidTransitionError(InternalError):
    """An event that the state it met does not allow."""


def note_told(error: Exception) -> None:
    """Note of an error that programs know of it: their lines have the record that ends them."""
    vars(error)["told"] = True


def is_told(error: BaseException | None) -> bool:
    """Say whether programs know of an error, or of one that it came after, as when a full disk lets nothing be closed."""
    return error is not None and (getattr(error, "told", False) is True or is_told(error.__context__))
