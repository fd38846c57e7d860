"""First values for the rows of control tokens that a model has never seen.

What a model holds there is noise (rows that pad a vocabulary to a round number, or that a resize
has just made), and noise costs twice: as an input it is a vector no layer was trained on, and as
an output its logit may be anything, so that control tokens drown other text before a step is taken.

- As inputs, each token begins as the mean of the embeddings of a few words that say what it does.
  So it is among vectors that the layers know, and the six differ from the first step on.
- As outputs, all begin as the mean of the known rows (Hewitt 2021): their logit is the mean logit,
  far below what the model wants to say, and its distribution stays nearly what it was.
- Where one row serves as both, it is half of each.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from aspd_cli.core.codec import Codec
from aspd_cli.core.markup import BRANCH, BRANCH_END, PARA, PARA_END, TITLE, TITLE_END

WORDS = {
    BRANCH: " first part begin",
    BRANCH_END: " part done end",
    TITLE: " title heading",
    TITLE_END: " heading end :",
    PARA: " all parts begin :",
    PARA_END: " all parts done. In all",
}
"""What each control token does, in words of any vocabulary."""


def initialise(model: PreTrainedModel, codec: Codec, new: Iterable[str], known: int) -> None:
    """Sets the rows of the control tokens `new`.

    Args:
        known: rows below this index were trained; those above are padding or freshly made.
    """
    ids = {token: codec.tokenizer.convert_tokens_to_ids(token) for token in new}
    inputs: Any = model.get_input_embeddings().weight
    outputs: Any = model.get_output_embeddings().weight
    with _whole([inputs, outputs]), torch.no_grad():
        if inputs.is_meta:  # another process holds the weights and hands them out
            return
        worded = {token: _mean(inputs, codec.encode(WORDS[token])) for token in ids}
        neutral = _mean(outputs, sorted(set(range(known)) - set(ids.values())))
        for token, row in ids.items():
            if inputs is outputs:
                inputs[row] = (worded[token] + neutral) / 2
            else:
                inputs[row], outputs[row] = worded[token], neutral


def _mean(table: Tensor, rows: list[int]) -> Tensor:
    """(H,) the mean of some rows, taken in float32."""
    return table[rows].float().mean(0).to(table.dtype)


@contextmanager
def _whole(parameters: list[Any]) -> Iterator[None]:
    """The full parameters, where DeepSpeed ZeRO-3 has spread them over processes."""
    from transformers.integrations.deepspeed import is_deepspeed_zero3_enabled

    if not is_deepspeed_zero3_enabled():
        yield
        return
    import deepspeed  # type: ignore[import-not-found]

    with deepspeed.zero.GatheredParameters(parameters, modifier_rank=0):
        yield
