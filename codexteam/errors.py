"""What makes codexteam stop, and the exit code each of it ends with.

    CodexteamError                 1  cannot continue; the message is for the user, `hint` says what to do next
    ├─ UsageError                  2  a wrong flag or argument that the parser cannot see
    ├─ ConfigError                 2  config.toml, a role file, a flag: file, line, key, found, allowed
    ├─ PlanError                   2  plan.md: line and task
    │  └─ PlanCycleError              the cycle, spelled out
    ├─ SurroundingsError           6  what is around the program: engine, git, credentials, disk
    │  ├─ SandboxUnavailable          no engine answers, no image
    │  ├─ SandboxLost                 the sandbox went away under its agent
    │  │  └─ HostLost                 and so did the host that it was on
    │  ├─ ModelAccessError            401, 403, unknown model, quota gone
    │  │  ├─ ModelOutageError         nobody gets an answer, whatever the model
    │  │  └─ UsageLimitError       4  what an account's plan includes is used up for a while
    │  ├─ RepoError                   not a repository, no commits, git too old
    │  ├─ StoreError                  the state file cannot be read or written
    │  │  └─ StoreVersionError        written by a newer codexteam
    │  └─ RepositoryBusyError         another run works on this repository
    ├─ LandingError                7  merge, push or pull request failed
    └─ InternalError               1  a bug: names the events that led to it
       └─ InvalidTransitionError

Expected outcomes (a conflict, red tests, a spent budget, a refusal, a timeout) are values, not errors.
"""


class CodexteamError(Exception):
    """Cannot continue. `str()` is the message for the user; `hint` is what to do next, or empty."""

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


class ProgramsUnavailable(SandboxUnavailable):
    """An engine is on a machine without the programs that a sandbox is to show."""


class SandboxLost(SurroundingsError):  # noqa: N818
    """The sandbox went away under its agent; its last snapshot is what is left."""


class HostLost(SandboxLost):
    """The host under a sandbox does not answer: nothing that the agent did is to blame."""


class ModelAccessError(SurroundingsError):
    """The model service will not serve us: credentials, permission, model name or quota."""

    def __init__(self, message: str, *, hint: str = "", may_be_billed: bool = False) -> None:
        """`may_be_billed`: it was said in a stream that had opened, and the service may want money for that."""
        super().__init__(message, hint=hint)
        self.may_be_billed = may_be_billed


class ModelOutageError(ModelAccessError):
    """No agent of the run gets an answer any more: no model is to blame, and no attempt."""


class UsageLimitError(ModelAccessError):
    """What an account's plan includes is used up for a while; `resets_at_seconds` (since 1970) where it is known."""

    exit_code = 4

    def __init__(
        self, message: str, *, hint: str = "", may_be_billed: bool = False, resets_at_seconds: float | None = None
    ) -> None:
        """Take also when the limit resets, in seconds since 1970."""
        super().__init__(message, hint=hint, may_be_billed=may_be_billed)
        self.resets_at_seconds = resets_at_seconds
        self.run_id = ""
        """The run that it stopped, where one was begun."""


class RepoError(SurroundingsError):
    """Git or the repository is not as it must be."""


class StoreError(SurroundingsError):
    """The state file cannot be read or written."""


class StoreVersionError(StoreError):
    """The state file was written by a newer codexteam."""


class RepositoryBusyError(SurroundingsError):
    """Another codexteam process works on this repository."""


class LandingError(CodexteamError):
    """The result could not be merged, pushed or proposed."""

    exit_code = 7


class Interrupted(CodexteamError):  # noqa: N818 - reads as what it is
    """A signal ended the command before it came to an end of its own."""

    def __init__(self, signal_number: int) -> None:
        super().__init__("interrupted")
        self.exit_code = 128 + signal_number


class InternalError(CodexteamError):
    """A bug in codexteam."""


class InvalidTransitionError(InternalError):
    """An event that the state it met does not allow."""


def mark_reported(error: Exception) -> None:
    """Mark an error whose terminal record is in the JSON lines already."""
    vars(error)["reported"] = True


def is_reported(error: BaseException | None) -> bool:
    """Return whether an error, or one that it came after, is in the JSON lines already."""
    return error is not None and (getattr(error, "reported", False) is True or is_reported(error.__context__))
