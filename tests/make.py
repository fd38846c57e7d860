"""Real tokenizers made offline, one for each way in which model families cut text.

    tokenizer = make.tokenizer("llama2", template="llama2")

They are trained on the few lines below, so they hold words, parts of words, a few Chinese
characters and a long tail of bytes: enough for every seam that a large vocabulary has.
"""

import json
import unicodedata
from collections.abc import Callable
from functools import cache
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from tokenizers.processors import TemplateProcessing
from tokenizers.trainers import BpeTrainer
from transformers import PreTrainedTokenizerFast

from aspd_cli.core.codec import add_control_tokens

KINDS: dict[str, Callable[[str], str]] = {
    "qwen": lambda text: unicodedata.normalize("NFC", text),
    "llama3": lambda text: text,
    "llama2": lambda text: text.replace("▁", " "),
    "mistral": lambda text: text.replace("▁", " "),
    "gemma": lambda text: text.replace("▁", " "),
}
"""Kind of tokenizer -> what is left of a text that went through its normaliser.

- `qwen`, `llama3`: byte-level BPE; `qwen` normalises to NFC and has no BOS.
- `llama2`: SentencePiece BPE with byte fallback, a space before *every* section of text.
- `mistral`: the same, with a space before the *first* section only.
- `gemma`: the same, without any such space.
"""

LOSSY = ("unigram", "unigram-bytes")
"""Further kinds, which change text or do not know each character; `KINDS` do neither.

- `unigram`: SentencePiece unigram that normalises to NFKC; its vocabulary holds special tokens.
- `unigram-bytes`: the same with byte fallback.
"""

TEMPLATES: dict[str, tuple[str, tuple[str, ...]]] = {
    "chatml": (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}",
        ("<|im_start|>", "<|im_end|>"),
    ),
    "llama2": (
        "{% set system = '' %}{% if messages[0].role == 'system' %}"
        "{% set system = '<<SYS>>\n' + messages[0].content + '\n<</SYS>>\n\n' %}"
        "{% set messages = messages[1:] %}{% endif %}"
        "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
        "{{ raise_exception('Conversation roles must alternate user/assistant') }}{% endif %}"
        "{% if m.role == 'user' %}"
        "{{ (bos_token or '') + '[INST] ' + (system if loop.first else '') }}"
        "{{ m.content | trim + ' [/INST]' }}"
        "{% else %}{{ ' ' + m.content | trim + ' ' + eos_token }}{% endif %}{% endfor %}",
        (),
    ),
    "llama3": (
        "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>"
        "\n\n{{ m.content | trim }}<|eot_id|>{% endfor %}{% if add_generation_prompt %}"
        "<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}",
        ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
    ),
    "gemma": (
        "{{ bos_token }}{% if messages[0].role == 'system' %}"
        "{{ raise_exception('System role not supported') }}{% endif %}"
        "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
        "{{ raise_exception('Conversation roles must alternate user/assistant') }}{% endif %}"
        "<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}\n"
        "{{ m.content | trim }}<end_of_turn>\n{% endfor %}"
        "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}",
        ("<start_of_turn>", "<end_of_turn>"),
    ),
}
"""Name of a chat template -> its source, and the special tokens it needs."""

_CORPUS = """Hi
end
Hi
end
Apples are red, round and sweet: they grow on trees in cold and mild countries.
Bananas are yellow and long; they grow in hot countries, and people eat them raw.
Compare the two fruits by colour, by taste and by price. First the colour, then the taste.
A title is short. The end of the answer follows after both parts: all of it is plain text.
1. Who was Ada? Ada wrote the first program in 1843.  2. Who was Alan? He broke codes in 1941.
    if x > 10 and y < 20:
        return (x + y) * 3.14 - 15
The sum of 12 and 30 is 42. The sum of 7 and 8 is 15. So the total is 57.
你好，世界。苹果是红色的，香蕉是黄色的。你好，世界。
"""

_QWEN_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def tokenizer(
    kind: str = "qwen", template: str | None = None, *, control: bool = True
) -> PreTrainedTokenizerFast:
    """A fresh tokenizer of one of `KINDS` or `LOSSY`, which the caller may change.

    Args:
        template: one of `TEMPLATES`, or None for a base model's tokenizer.
        control: whether it holds the six control tokens.
    """
    source, special = TEMPLATES[template] if template else (None, ())
    sentencepiece = kind in ("llama2", "mistral", *LOSSY)
    bos, eos = ("<s>", "</s>") if sentencepiece else ("<bos>", "<eos>")
    made = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(_trained(kind)),
        bos_token=None if kind == "qwen" else bos,
        eos_token=eos,
        pad_token=eos,
        unk_token="<unk>" if kind in LOSSY else None,
    )
    made.add_tokens([AddedToken(t, normalized=False, special=True) for t in special], True)
    if kind != "qwen":
        made.backend_tokenizer.post_processor = TemplateProcessing(
            single=f"{bos} $A", special_tokens=[(bos, made.bos_token_id)]
        )
    made.chat_template = source
    if control:
        add_control_tokens(made)
    return made


@cache
def _trained(kind: str) -> str:
    """The serialised tokenizer, without special tokens."""
    if kind in LOSSY:
        return _unigram(kind).to_str()
    return (_byte_level(kind) if kind in ("qwen", "llama3") else _sentencepiece(kind)).to_str()


def _byte_level(kind: str) -> Tokenizer:
    made = Tokenizer(models.BPE())
    if kind == "qwen":
        made.normalizer = normalizers.NFC()
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_QWEN_SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(
        _CORPUS.splitlines(keepends=True),
        BpeTrainer(vocab_size=600, initial_alphabet=alphabet, show_progress=False),
    )
    return made


def _sentencepiece(kind: str) -> Tokenizer:
    """BPE with 256 byte tokens to fall back to, which the trainer itself cannot add."""
    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    trainer = BpeTrainer(vocab_size=500, show_progress=False)
    learner.train_from_iterator(_CORPUS.splitlines(), trainer)
    model = json.loads(learner.to_str())["model"]
    tokens = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), *model["vocab"]]
    made = Tokenizer(
        models.BPE(
            vocab={token: i for i, token in enumerate(tokens)},
            merges=[tuple(merge) for merge in model["merges"]],
            unk_token="<unk>",
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    steps: list[Any] = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    if kind == "llama2":
        made.normalizer = normalizers.Sequence(
            [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
        )
    elif kind == "mistral":
        made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    else:
        made.normalizer = normalizers.Replace(" ", "▁")
    if kind != "gemma":
        steps.append(decoders.Strip(" ", 1, 0))
    made.decoder = decoders.Sequence(steps)
    return made


def _unigram(kind: str) -> Tokenizer:
    """Pieces are the words and the characters of the corpus; special tokens are pieces too."""
    special = ["<unk>", "<s>", "</s>"]
    words = sorted({f"▁{word}" for word in _CORPUS.split()})
    characters = sorted({*_CORPUS.replace(" ", "▁"), *"<>|/[]"})
    by_bytes = kind == "unigram-bytes"
    names = [f"<0x{byte:02X}>" for byte in range(256)] if by_bytes else []
    scored = [(words, -6.0), (characters, -9.0), (names, -12.0)]
    vocabulary = [(token, 0.0) for token in special]
    vocabulary += [(each, score) for pieces, score in scored for each in pieces]
    made = Tokenizer(models.Unigram(vocabulary, unk_id=0, byte_fallback=by_bytes))
    made.normalizer = normalizers.NFKC()
    made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    bytes_ = [decoders.ByteFallback()] if by_bytes else []
    steps = [decoders.Replace("▁", " "), *bytes_, decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    made.decoder = decoders.Sequence(steps)
    return made


def recipe_of_0_1(saved: str) -> str:
    """Saved settings as version 0.1 wrote them: no first line, and no section `serve`."""
    recipe = saved.partition("\n")[2] if saved.startswith("# aspd ") else saved
    return recipe[: recipe.index("\nserve:") + 1]
