"""From a recipe to a decoder on vLLM that was tested, and what the test finds."""

import pytest

from aspd_cli.errors import ModelError
from aspd_cli.recipe import load_recipe
from aspd_cli.vllm.decoder import open_vllm
from tests.vllm.completions import Completions
from tests.vllm.emulator import EmulatedVllm
from tests.vllm.test_planner import OPTIONS, PROMPTS, same


def opened(folder, url):
    fields = {"model.engine": "vllm", "model.path": folder, "vllm.url": url}
    return open_vllm(load_recipe(None, [], fields))


def test_a_decoder_of_a_recipe_answers_as_our_own_engine(forking, folder):
    emulated = EmulatedVllm(forking[1], tells_all=False)
    with Completions(emulated).running() as url:
        decoder = opened(folder, url)
        assert decoder.context == 4096
        assert (decoder.ends, decoder.max_depth, decoder.forms) == (
            forking[0].ends,
            forking[0].max_depth,
            forking[0].forms,
        )
        found = decoder.generate(PROMPTS[1], **OPTIONS)
        decoder.close()
    assert same(forking[0].generate(PROMPTS[1], **OPTIONS), found) == [True]


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"has_connector": False}, "has no connector of aspd"),
        ({"stitches": False}, "does not stitch branches right"),
    ],
)
def test_the_self_test_refuses_what_would_write_another_text(fault, said, forking, folder):
    emulated = EmulatedVllm(forking[1], tells_all=False, **fault)
    with Completions(emulated).running() as url, pytest.raises(ModelError, match=said):
        opened(folder, url)
