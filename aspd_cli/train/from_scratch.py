"""A tokenizer and a model from nothing, for recipes whose `model.config` asks for one."""

from collections.abc import Iterable
from typing import Any

import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoConfig, PreTrainedModel, PreTrainedTokenizerFast

from aspd_cli.core.markup import CONTROL_TOKENS
from aspd_cli.pretrained import from_config

PAD, TURN, TURN_END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"

_SHARPNESS = 5.0
"""Size of the biases of the heads that look back: nine tenths of the attention on one token."""
_FARTHEST = 4
"""Heads look back 1 to this many tokens."""

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
"""ChatML; a system message is rendered when there is one, and none is made up."""

_PIECES = r" ?[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|\p{Lu}[\p{L}\p{M}]*|\p{N}{1,2}| ?[^\s\p{L}\p{N}]+|\s"
"""A space belongs to a lower-case word or a sign behind it, but never to a name or a number: these
are the same tokens wherever they stand, so that copying them is copying tokens. Numbers are cut
into groups of two digits, so that 0 to 99 are one token each.

`AutoTokenizer` gives every model of type qwen2 Qwen's own pre-tokenizer, whatever the file says.
That one cuts coarser, which changes nothing where no merge was learnt, but for numbers: it takes
digits one by one. Hence 10 to 99 are also added tokens, which are cut out before all else."""


def new_tokenizer(texts: Iterable[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer with ChatML turns and the six control tokens in its vocabulary."""
    specials = [PAD, TURN, TURN_END, *CONTROL_TOKENS]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PIECES), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=specials,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_tokens([AddedToken(str(n), normalized=False) for n in range(10, 100)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=TURN_END,
        pad_token=PAD,
        additional_special_tokens=[TURN, *CONTROL_TOKENS],
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
    )


def new_model(config: dict[str, Any], tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    """A randomly initialised model of `config`, with the tokenizer's vocabulary and special ids."""
    settings = {
        **config,
        "vocab_size": len(tokenizer),
        "pad_token_id": tokenizer.pad_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "bos_token_id": None,
    }
    model: PreTrainedModel = from_config(AutoConfig.for_model(**settings), trust_remote_code=False)
    look_back(model)
    return model


def look_back(model: PreTrainedModel) -> None:
    """Makes heads of the first layer begin by looking one, two, three ... tokens back.

    A model learns to copy from its context in two steps: heads that know which token came before,
    then heads that look for where the present token stood before. The first step is slow to come
    by chance; where queries and keys have biases (Qwen2) it can be given: with rotary positions, a
    query bias that is the key bias turned by d positions attends d tokens back, whatever they are.
    """
    attention = model.base_model.layers[0].self_attn
    if attention.q_proj.bias is None or attention.k_proj.bias is None:
        return
    size = attention.head_dim
    half = torch.arange(size // 2)
    angles = model.base_model.rotary_emb.inv_freq.float()  # (size / 2)
    with torch.no_grad():
        keys = attention.k_proj.bias.view(-1, size)  # (key heads, size)
        keys.zero_()
        keys[:, half] = _SHARPNESS
        queries = attention.q_proj.bias.view(-1, size)  # (query heads, size)
        group = len(queries) // len(keys)
        for head, query in enumerate(queries[::group]):
            turn = -(head % _FARTHEST + 1) * angles
            query[half] = _SHARPNESS * turn.cos()
            query[half + size // 2] = _SHARPNESS * turn.sin()
