"""`apply_patch`: Codex's patch format over the files of one sandbox."""

from codexteam.agent.patch.grammar import GRAMMAR
from codexteam.agent.patch.workspace import WorkspaceFiles, apply_patch

__all__ = ["GRAMMAR", "WorkspaceFiles", "apply_patch"]
