"""A provider's answer must not send the key, the prompt, or the user's code to somebody else."""

import pytest

from codexteam.errors import ModelAccessError
from tests.fakes.model_calls import collect, model_request
from tests.integration.adapters.responses.conftest import Bench
from tests.scripted_api import HttpError, Reply, ScriptedApi


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_neither_key_nor_prompt_follows_a_redirect(bench: Bench, status: int) -> None:
    async with ScriptedApi(lambda _: Reply()) as elsewhere:
        bench.play(HttpError(status, headers={"Location": f"{elsewhere.base_url}/responses"}))

        with pytest.raises(ModelAccessError, match="redirected to"):
            await collect(bench.model(), model_request())

        assert len(bench.api.requests) == 1
        assert elsewhere.requests == []
