"""`apply_patch`: Codex's patch format over the files of one sandbox."""

from codexteam.agent.patch.workspace import GRAMMAR, PatchRefused, WorkspaceFiles, apply_patch

__all__ = ["GRAMMAR", "PatchRefused", "WorkspaceFiles", "apply_patch"]
