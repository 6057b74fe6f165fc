"""`apply_patch` and `view_image`: the workspace's files without a command; a patch applied however it was asked for."""

import base64
import posixpath
from dataclasses import dataclass
from typing import Final

from codexteam.agent.patch import GRAMMAR, PatchRefused, apply_patch
from codexteam.agent.patch.invocation import Invocation, patch_in
from codexteam.agent.tools.arguments import parse_arguments, text_argument
from codexteam.agent.tools.tool import ToolOutput, ToolProblem, function_definition
from codexteam.agent.tools.tool_context import ToolContext
from codexteam.core.ids import JSONObject
from codexteam.ports.sandbox import WORKSPACE

#: How files of the kinds that models can see begin.
_IMAGE_KINDS: Final = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
)


@dataclass(frozen=True, slots=True)
class ApplyPatch:
    """Changes files by a patch in Codex's format."""

    place: ToolContext
    freeform: bool = False
    """Whether the provider takes free text held to a grammar; else the patch is a function's `input`."""

    @property
    def name(self) -> str:
        return "apply_patch"

    @property
    def only_reads(self) -> bool:
        """Never."""
        return False

    @property
    def definition(self) -> JSONObject:
        """Codex's tool, in one of its two forms."""
        if self.freeform:
            return {
                "type": "custom",
                "name": self.name,
                "description": "Edits files. FREEFORM: send the patch itself, not JSON.",
                "format": {"type": "grammar", "syntax": "lark", "definition": GRAMMAR},
            }
        whole: JSONObject = {"input": {"type": "string", "description": "The whole patch."}}
        return function_definition(self.name, _PATCH_TEXT, whole, ("input",))

    async def call(self, arguments: str, *, call_id: str) -> ToolOutput:  # noqa: ARG002 - a patch leaves no log
        """Apply it, whole or not at all."""
        found = patch_in(arguments)
        if found is None:
            # JSON that is not a patch in any dialect: say what the tool's own form lacks
            form = parse_arguments(self.name, arguments, known=("input",))
            found = Invocation(text_argument(form, "input"))
        folder = posixpath.join(WORKSPACE, found.folder)
        return ToolOutput(await patch_workspace(found.patch, self.place, folder=folder))


@dataclass(frozen=True, slots=True)
class ViewImage:
    """Shows the model a picture of the workspace."""

    place: ToolContext

    @property
    def name(self) -> str:
        return "view_image"

    @property
    def only_reads(self) -> bool:
        """Always."""
        return True

    @property
    def definition(self) -> JSONObject:
        """Codex's tool."""
        path: JSONObject = {"path": {"type": "string", "description": "Path of the image."}}
        return function_definition(self.name, "View an image file of the workspace.", path, ("path",))

    async def call(self, arguments: str, *, call_id: str) -> ToolOutput:  # noqa: ARG002 - a picture leaves no log
        """Return the picture."""
        path = text_argument(parse_arguments(self.name, arguments, known=("path", "detail")), "path")
        sandbox = await self.place.enter()
        try:
            data = await sandbox.read_file(path, limit_bytes=self.place.limits.image_bytes)
        except ValueError as error:
            raise ToolProblem(f"{path} cannot be shown: {error}") from error
        if data is None:
            raise ToolProblem(f"there is no file {path}.")
        kind = _kind_of(data)
        if kind is None:
            raise ToolProblem(f"{path} is not a PNG, JPEG, GIF or WebP image.")
        url = f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"
        return ToolOutput(({"type": "input_image", "image_url": url},))


def _kind_of(data: bytes) -> str | None:
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for start, kind in _IMAGE_KINDS if data.startswith(start)), None)


_PATCH_TEXT = """Edits files. `input` is:
*** Begin Patch
*** Update File: path (or Add File, Delete File; *** Move to: path may follow)
@@ def enclosing_line():
 context
-old
+new
*** End Patch
Each line of a hunk starts with space, - or +; 3 lines of context around a change. Paths are relative."""


async def patch_workspace(patch: str, place: ToolContext, *, folder: str) -> str:
    """Apply it, whole or not at all; return the list of what it changed.

    Args:
        patch: the patch's text.
        place: whose workspace.
        folder: what relative paths start from, absolute in the sandbox.

    Raises:
        ToolProblem: it is not a patch, does not fit, or nothing can be written here.
        SandboxLost: the sandbox went away.
    """
    if place.read_only:
        raise ToolProblem("this sandbox is read-only: nothing can be patched in it.")
    sandbox = await place.enter()
    place.wrote = True
    try:
        return place.redactor.redact(await apply_patch(patch, sandbox, folder=folder))
    except PatchRefused as refused:
        raise ToolProblem(str(refused)) from refused
