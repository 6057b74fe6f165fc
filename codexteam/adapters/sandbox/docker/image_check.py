"""Whether the image that a run would take is on an engine, or could be pulled; nothing is pulled or built for it."""

from dataclasses import dataclass

from codexteam.adapters.sandbox.docker.client import ENGINE_ERRORS, EngineClient, ImageNotFound, said_by
from codexteam.adapters.sandbox.docker.image_selection import Built, ImageChoice, Pulled
from codexteam.core.text import clean_line
from codexteam.environment.repository_view import RepositoryView


@dataclass(frozen=True, slots=True)
class ImageFound:
    """What came of it."""

    usable: bool
    found: str


async def look_for_image(client: EngineClient, choice: ImageChoice, view: RepositoryView) -> ImageFound:
    """Look on the engine, then ask the registry as the engine would."""
    match choice:
        case Built(dockerfile, reason=reason):
            there = view.read(dockerfile) is not None
            text = f"{clean_line(dockerfile)} ({clean_line(reason)})"
            return ImageFound(there, f"is built from {text}" if there else f"there is no {text} at HEAD")
        case Pulled(reference, reason):
            return await _pulled(client, reference, f"{clean_line(reference)} ({clean_line(reason)})")


async def _pulled(client: EngineClient, reference: str, text: str) -> ImageFound:
    docker = await client.connect()
    try:
        await client.call(docker.images.get, reference)
    except ImageNotFound:
        pass  # then it must be pulled
    except ENGINE_ERRORS as error:
        return ImageFound(usable=False, found=f"{text}: {clean_line(said_by(error))}")
    else:
        return ImageFound(usable=True, found=f"{text}, on the engine")
    try:
        await client.call(docker.images.get_registry_data, reference)
    except ENGINE_ERRORS as error:
        said = clean_line(said_by(error))
        return ImageFound(usable=False, found=f"{text} is not on the engine, and cannot be pulled: {said}")
    return ImageFound(usable=True, found=f"{text}, is pulled when a run starts")
