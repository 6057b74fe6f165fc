"""What agents get of the map of the code: a part of their first message, and a tool."""

from dataclasses import dataclass

from codexteam.core.ids import AgentKey, CommitId
from codexteam.errors import RepoError, StoreError
from codexteam.ports.symbol_index import CodeMatch, CodePart
from codexteam.run.code_map import CodeMap
from codexteam.run.context import RunContext
from codexteam.run.remembered import DrawnMap


async def map_for(
    context: RunContext, key: AgentKey, commit: CommitId, about: str, *, within: tuple[str, ...] = ()
) -> str:
    """Return the map that an agent begins with, the same however often its run is resumed; empty where there is none."""
    code, tokens = context.code_map, context.settings.team.map.tokens
    if code is None or not tokens:
        return ""
    known = await context.recall("map", str(key), DrawnMap)
    if known is None:
        try:
            text = await code.draw(commit, about, tokens=tokens, within=within)
        except (StoreError, RepoError) as error:  # it helps, and nothing depends on it
            context.report("notice", {"text": f"no map of the code: {error}"})
            text = ""
        known = DrawnMap(context.redactor.redact(text))
        await context.remember("map", str(key), known)
    return known.text


@dataclass(frozen=True, slots=True)
class CommitSearch:
    """The code of the commit that an agent's workspace began with; a `CodeSearch`."""

    code: CodeMap
    commit: CommitId

    async def text(self, words: str, under: str) -> list[CodePart]:
        return await self.code.find_text(self.commit, words, under=under)

    async def symbol(self, name: str, under: str) -> tuple[list[CodePart], list[CodePart]]:
        return await self.code.find_symbol(self.commit, name, under=under)

    async def pattern(self, pattern: str, under: str) -> list[CodeMatch] | str:
        return await self.code.find_pattern(self.commit, pattern, under=under)
