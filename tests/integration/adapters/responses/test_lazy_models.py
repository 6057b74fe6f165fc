"""The client is imported without its models, and they are there for whoever asks."""

import subprocess
import sys

_COUNT = "print(len([name for name in sys.modules if name.startswith('openai.types.')]))"
_LAZY = "from codexteam.adapters.responses.lazy_models import load_models_when_asked; load_models_when_asked()"


def modules_after(*lines: str) -> int:
    done = subprocess.run(
        (sys.executable, "-c", "\n".join(("import sys", *lines, _COUNT))), capture_output=True, check=True
    )
    return int(done.stdout)


def test_the_client_leaves_most_of_its_models_out() -> None:
    everything = modules_after("import openai")
    client = "openai.AsyncOpenAI(api_key='x', http_client=openai.DefaultAioHttpClient())"
    assert modules_after(_LAZY, _LAZY, "import openai", client) < everything / 3


def test_a_model_is_loaded_for_whoever_asks() -> None:
    asked = (
        "import openai",
        "from openai.types import Completion",
        "from openai.types.responses import Response, ResponseUsage",
        "from openai.types.shared import Reasoning",
        "assert Response.model_fields and Reasoning.model_fields and Completion.model_fields",
        "assert not hasattr(openai.types, 'NoSuchModel')",
        "assert openai.types.responses.Response is Response",
        "from openai.resources.responses import AsyncResponses",
    )
    assert modules_after(_LAZY, *asked) > modules_after(_LAZY, "import openai")
