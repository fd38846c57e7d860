"""The timeline of an answer agrees with the steps that the engine took."""

import pytest

import aspd_cli as aspd
from aspd_cli.engine.decoder import Decoder
from aspd_cli.evaluate.timeline import timeline
from tests import make
from tests.engine.families import tiny_model
from tests.engine.scripted import fork, scripted

PROMPTS = (
    "Describe the tiger, Saturn, cheese and the drill in detail",
    "What is 9 + 16, 20 - 3 and 7 * 2, and which is the largest?",
    "Start with 10, then times 3, then minus 4. What is the result?",
)


@pytest.fixture(scope="module")
def embedded() -> Decoder:
    return aspd.load()


@pytest.mark.parametrize("prompt", PROMPTS)
def test_the_last_bar_ends_with_the_last_step(embedded: Decoder, prompt: str) -> None:
    [output] = embedded.generate(prompt, mode="parallel", draft=False)
    bars = timeline(output.token_ids, embedded.codec)
    assert max(bar.end for bar in bars) == output.stats.steps
    titles = [b.title for block in output.document.blocks() for b in block.branches]
    assert list(dict.fromkeys(bar.title for bar in bars if bar.lane)) == titles
    advancing = [
        sum(bar.start <= step <= bar.end for bar in bars)
        for step in range(1, output.stats.steps + 1)
    ]
    assert max(advancing) == output.stats.max_lanes
    assert min(advancing) >= 1


def test_nested_forks_and_repeated_titles_keep_step_with_the_engine() -> None:
    tokenizer = make.tokenizer("qwen", "chatml")
    model = tiny_model("qwen2", len(tokenizer), num_hidden_layers=1)
    decoder = Decoder(model, tokenizer, max_depth=2)
    words = decoder.codec.encode
    script = {
        (): [*words("Hi"), *fork(decoder.codec, "A: b", "C", "A: b"), *words(" end of it")],
        ((0, 0),): [*words("one"), *fork(decoder.codec, "x", "y"), *words("more")],
        ((0, 0), (0, 0)): words("a long inner branch"),
        ((0, 0), (0, 1)): words("short"),
        ((0, 1),): words("two"),
    }
    output = scripted(decoder, script, draft=False)
    bars = timeline(output.token_ids, decoder.codec)
    assert max(bar.end for bar in bars) == output.stats.steps
    assert [(b.lane, b.title, b.titles) for b in bars] == [
        (0, "", False),
        (0, "", True),
        (0, "", False),
        (1, "A: b", False),
        (1, "A: b", True),
        (1, "A: b", False),
        (2, "x", False),
        (3, "y", False),
        (4, "C", False),
    ]
