"""The Python API as its users call it."""

import subprocess
import sys

CALLS = """
import aspd_cli as aspd

decoder = aspd.load()
prompt = "What is 9 + 16, 20 - 3 and 7 * 2?"
[out] = decoder.generate([prompt], max_new_tokens=256)
assert out.stats.blocks, out.markup
assert aspd.plain(aspd.parse(out.markup)) == out.text
assert len(aspd.layout(out.document, decoder.codec.tokenizer).input_ids) > out.stats.useful_tokens
*_, done = decoder.stream(prompt, mode="serial", max_new_tokens=256)
assert done.output.token_ids == out.token_ids
"""


def test_no_call_is_one_that_a_library_will_give_up() -> None:
    """Deprecations of libraries are errors here: a user would see each of them."""
    strict = ["-W", "error::FutureWarning", "-W", "error::DeprecationWarning"]
    done = subprocess.run([sys.executable, *strict, "-c", CALLS], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
