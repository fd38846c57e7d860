"""All that we touch of other libraries without their promise, why, and that it is still there.

`ENTRIES` is the only list. A private name that it lacks fails a test with its file and line; so
does an entry that nothing needs any more, one that the installed release no longer honours, and a
library with an entry whose upper bound in pyproject.toml lets in a release that nobody has tried.
`tests.foreign` finds the names; undocumented things with public names are found by reading only.

Not listed is what the libraries document, though not where one would look: sdpa_attention_forward
and sdpa_mask in transformers' page on attention; TyperGroup in typer's tutorial; `client.post` and
`__cause__` of errors in openai's README (`str` is among the types that its `cast_to` takes). Which
errors of aiohttp stand behind openai's decides how well a failure is told, and nothing else.
"""

import ast
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests import foreign
from tests import foreign_checks as checks

ROOT = Path(__file__).parent.parent

MINOR = {
    "torch": 2,
    "transformers": 2,
    "trl": 2,
    "accelerate": 2,
    "datasets": 2,
    "peft": 2,  # 0.x: with no first number to speak of, the second one announces changes
    "tokenizers": 2,  # as peft
    "typer": 2,  # as peft
    "lm-eval": 3,  # 0.4.x since 2023: interfaces have changed with the third number ever since
}
"""Library with entries -> which of its numbers grows when it may change what it does not promise.

Its upper bound is the next value of that number after the release that the tests run with."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing of another library that it does not promise to keep."""

    library: str
    names: tuple[str, ...]
    """As our code spells them; each is somewhere in `places`, and each place has one of them."""
    places: tuple[str, ...]
    """Files below aspd_cli/."""
    why: str
    """What we need of it."""
    instead: str
    """The public way that was looked for, and why it does not do."""
    check: Callable[[Path], None]
    """Fails when the installed release does not do what we need; is given an empty folder."""

    def __str__(self) -> str:
        return f"{self.library}-{self.names[0]}"


ENTRIES = [
    Entry(
        "torch",
        ("_reorder_linear_weight", "_linear_pointwise"),
        ("engine/packed_linear.py",),
        "Products with a weight in oneDNN's own order: a step of few tokens costs half.",
        "torch.utils.mkldnn converts inputs and outputs at each call and does not fuse; inductor's "
        "freezing reaches the same kernels, but compiles for minutes and by private settings.",
        checks.packed_products,
    ),
    Entry(
        "torch",
        ("linear_prepack", "linear_with_input_q_dq_qweight_dq_output_fp32"),
        ("engine/quantized_linear.py",),
        "Products with weights of 8 bits whose activations have a scale that we give.",
        "torch.ao's dynamic Linear takes one scale for all tokens of a step, so that a lane would "
        "depend on its neighbours; torchao's layers have no kernels of their own on a CPU and want "
        "torch.compile.",
        checks.quantised_products,
    ),
    Entry(
        "torch",
        ("_forward_hooks", "_forward_pre_hooks"),
        ("engine/packed_linear.py",),
        "A linear layer that somebody listens to must not be replaced.",
        "Modules can be given hooks and rid of them, but not asked for them.",
        checks.module_hooks,
    ),
    Entry(
        "torch",
        ("inline_container", "iostream error"),
        ("train/run_dir.py",),
        "A full disk must be told from a fault of the program.",
        "torch.save raises a bare RuntimeError, so its text is all there is; 2.13 changed it.",
        checks.failed_writes,
    ),
    Entry(
        "tokenizers",
        ("os error",),
        ("train/run_dir.py",),
        "As for torch.save.",
        "Tokenizer.save raises a bare Exception.",
        checks.failed_tokenizer,
    ),
    Entry(
        "transformers",
        ("_attn_implementation",),
        ("train/branch_mask.py", "train/callbacks.py"),
        "The form of a mask depends on the attention; a borrowed model gets its own back.",
        "set_attn_implementation sets it and nothing public tells it; to_dict leaves it out.",
        checks.attention_name,
    ),
    Entry(
        "transformers",
        ("CacheLayerMixin",),
        ("engine/kv_cache.py",),
        "Keys and values lie in rows that lanes share.",
        "Cache takes layers of one's own, but its page does not say what a layer must have, and "
        "that has changed between minor releases.",
        checks.cache_layer,
    ),
    Entry(
        "transformers",
        ("past_key_values",),
        ("engine/model_runner.py",),
        "Models call the argument that takes a cache `past_key_values`, since 5.24 `cache`.",
        "None: it is asked of the signature.",
        checks.cache_argument,
    ),
    Entry(
        "transformers",
        ("sliding_window", "softcap", "s_aux"),
        ("engine/attention/lane_attention.py",),
        "What families pass to an attention function: computed, or refused by name.",
        "AttentionInterface is documented, but not the arguments of what is registered.",
        checks.attention_arguments,
    ),
    Entry(
        "transformers",
        ("missing_keys", "mismatched_keys"),
        ("engine/loading.py",),
        "Weights that are not there or have another shape are an error, not noise in their place.",
        "output_loading_info is documented, the form of what it returns is not.",
        checks.loading_report,
    ),
    Entry(
        "transformers",
        ("attention_mask", "layer_types"),
        ("train/branch_mask.py",),
        "Ready masks, one for each kind of layer, and our own arguments reach the backbone.",
        "AttentionMaskInterface makes masks from indices of tokens and sees no lanes.",
        checks.ready_masks,
    ),
    Entry(
        "transformers",
        ("self_attn", "rotary_emb", "inv_freq"),
        ("train/from_scratch.py",),
        "Heads of the first layer of a new model begin by looking back a few tokens.",
        "None: these are the modules of one family. Others are left as they are made.",
        checks.first_layer,
    ),
    Entry(
        "transformers",
        ("is_deepspeed_zero3_enabled",),
        ("train/trainer.py", "train/preflight.py", "train/token_init.py"),
        "With ZeRO-3 weights are spread over processes from the start.",
        "accelerate tells it of its state, which is made later, with the trainer.",
        checks.zero3,
    ),
    Entry(
        "transformers",
        ("MODEL_FOR_CAUSAL_LM_MAPPING",),
        ("train/preflight.py",),
        "The class of a configuration, to count its parameters without spreading them.",
        "AutoModelForCausalLM.from_config obeys ZeRO-3.",
        checks.model_classes,
    ),
    Entry(
        "transformers",
        ("_get_train_sampler",),
        ("train/trainer.py",),
        "Batches of like length in random order.",
        "get_train_dataloader would have to be written anew: workers, seeds, shards of processes; "
        "train_sampling_strategy sorts each pool by length.",
        checks.train_sampler,
    ),
    Entry(
        "transformers",
        ("_get_grad_norm",),
        ("train/trainer.py",),
        "Gradients that are no numbers stop a run before they spoil the weights.",
        "on_pre_optimizer_step is not told the norm; to take it there again costs a pass over all "
        "gradients, and under FSDP and DeepSpeed a process sees a part of them only.",
        checks.gradient_norm,
    ),
    Entry(
        "transformers",
        ("_save",),
        ("train/trainer.py",),
        "Weights gathered from all processes are cast as they are written.",
        "save_model gathers and writes in one call; cast afterwards, they would lie on disk twice.",
        checks.saving,
    ),
    Entry(
        "transformers",
        ("_save_checkpoint",),
        ("train/trainer.py",),
        "What a failed write leaves is removed, and told as such.",
        "Around train() a failed checkpoint cannot be told from a log that could not be written; "
        "on_save comes only after a checkpoint that succeeded.",
        checks.saving_a_checkpoint,
    ),
    Entry(
        "transformers",
        ("_load_from_checkpoint",),
        ("train/trainer.py",),
        "A run that had done all its steps takes its weights back.",
        "train(resume_from_checkpoint) does one step more; reading weights, whole, in shards or of "
        "an adapter, would be written anew.",
        checks.loading_a_checkpoint,
    ),
    Entry(
        "transformers",
        ("is_fsdp_enabled", "is_deepspeed_enabled"),
        ("train/trainer.py", "train/trainer.py", "train/export.py"),
        "Whether weights are spread over processes.",
        "accelerator.distributed_type says it too, but not as the trainer's own code goes by it.",
        checks.sharded_flags,
    ),
    Entry(
        "transformers",
        ("trainer_state.json", "rng_state", "scheduler.pt", "optimizer.pt"),
        ("train/checkpoints.py",),
        "A checkpoint is gone on from only if it was written to its end.",
        "get_last_checkpoint takes the newest folder, whatever is in it.",
        checks.checkpoint_files,
    ),
    Entry(
        "trl",
        ("fused_lm_head", "log_probs"),
        ("train/trainer.py",),
        "Log-probabilities of an evaluation without logits, as TRL trains.",
        "compute_loss gives their mean; logits of a long batch take gigabytes.",
        checks.fused_head,
    ),
    Entry(
        "peft",
        ("bias",),
        ("train/trainer.py",),
        "TRL reads the bias of a head, which PEFT's wrapper of trained rows lacks.",
        "None: the two libraries meet here.",
        checks.bias_of_trained_rows,
    ),
    Entry(
        "peft",
        ("save_embedding_layers", "save_pretrained"),
        ("train/trainer.py",),
        "An adapter holds six rows and not both tables; Trainer._save does not say so.",
        "The argument is documented, but no setting of LoraConfig or of the trainer leads to it: "
        "the method is replaced on the model.",
        checks.adapter_file,
    ),
    Entry(
        "peft",
        ("base_model.model.", ".lora_A.weight", ".token_adapter.trainable_tokens_delta"),
        ("engine/lora.py",),
        "A plain adapter is merged from its file: importing PEFT takes longer than an answer.",
        "PeftModel.merge_and_unload, which all other kinds go through.",
        checks.adapter_file,
    ),
    Entry(
        "peft",
        ("unexpected_keys",),
        ("engine/lora.py",),
        "Tensors that fit nowhere are dropped in silence.",
        "load_adapter is documented, but not what it returns.",
        checks.load_report,
    ),
    Entry(
        "accelerate",
        ("ACCELERATE_TORCH_DEVICE",),
        ("train/config.py",),
        "A device that torch does not count as an accelerator of its own accord.",
        "Asking PartialState for its device would start the processes' group.",
        checks.device_variable,
    ),
    Entry(
        "datasets",
        ("HF_DATASETS_CACHE",),
        ("train/encoding.py",),
        "Encoded records lie beside what the library caches itself.",
        "The variable of that name is documented, its default is stated nowhere in code but here.",
        checks.datasets_cache,
    ),
    Entry(
        "lm-eval",
        ("_factory", "_load_full_config"),
        ("evaluate/lm_eval/tasks.py",),
        "Splits and shots of a task whose documents come from a file, before they can be loaded.",
        "TaskManager.load fetches the documents; task_index tells where the YAML is, whose "
        "includes and functions we would have to read ourselves.",
        checks.task_settings,
    ),
    Entry(
        "lm-eval",
        ("_model_call", "_loglikelihood_tokens"),
        ("evaluate/lm_eval/model.py",),
        "Log-likelihoods come from our own forward pass, each once for all systems.",
        "LM.loglikelihood and loglikelihood_rolling are public, but windows, contexts and scoring "
        "would be written anew, and differ from lm-eval's sooner or later.",
        checks.likelihood_calls,
    ),
    Entry(
        "lm-eval",
        ("num_parameters",),
        ("evaluate/lm_eval/model.py",),
        "HFLM is given a shell in place of a model, with what it reads of one.",
        "A real model: HFLM would set its own things on the decoder's.",
        checks.model_information,
    ),
    Entry(
        "lm-eval",
        ("normalize_gen_kwargs",),
        ("evaluate/lm_eval/model.py",),
        "Generation arguments mean what they mean to lm-eval's own classes.",
        "None: each class of lm-eval calls it.",
        checks.generation_arguments,
    ),
    Entry(
        "typer",
        ("TyperException",),
        ("cli/main.py",),
        "Usage errors are typer's to print; all others are ours.",
        "typer exports Exit, Abort and BadParameter, but not the base of its errors.",
        checks.usage_errors,
    ),
]


def known() -> set[tuple[str, str]]:
    return {(place, name) for entry in ENTRIES for place in entry.places for name in entry.names}


@pytest.mark.parametrize("entry", ENTRIES, ids=str)
def test_the_installed_release_does_what_we_need(entry: Entry, tmp_path: Path) -> None:
    entry.check(tmp_path)


def test_no_private_name_is_touched_that_is_not_listed() -> None:
    unlisted = [
        f"aspd_cli/{file}:{line}: {name}"
        for (file, name), line in foreign.touches().items()
        if (file, name) not in known()
    ]
    assert not unlisted, "list it in ENTRIES with the public way that was looked for"


@pytest.mark.parametrize(
    ("code", "names"),
    [
        ("from torch._C import Graph", ["_C"]),
        ("import torch._dynamo.config", ["_dynamo"]),
        ("from transformers.utils import _LazyModule", ["_LazyModule"]),
        ("torch.ops.mkldnn._linear_pointwise(x)", ["_linear_pointwise"]),
        ("model.config._kind = 'sdpa'", ["_kind"]),
        ("cached_file(path, _quietly=True)", ["_quietly"]),
        ("hasattr(torch.ops.mkldnn, '_reorder')", ["_reorder"]),
        ("from aspd_cli.core.codec import _cut", []),
        ("from __future__ import annotations; model.__class__", []),
        ("self._answer = self._ask()", []),
        ("other._answer", []),
    ],
)
def test_private_names_are_found(code: str, names: list[str]) -> None:
    found = foreign.private(ast.parse(code), own={"_answer"})
    assert [name for _, name in found] == names


def test_private_names_of_a_base_are_found_in_a_class_of_ours() -> None:
    code = """
class Ours(Module):
    def _apply(self, function):
        super()._apply(function)
        self._ours = 1
        self._buffers.clear()
    def _mine(self):
        pass
"""
    made: dict[str, type] = {"Module": torch.nn.Module}
    exec(code, made)
    [node] = ast.parse(code).body
    assert isinstance(node, ast.ClassDef)
    found = foreign.held(node, foreign.private_names(made["Ours"]))
    assert {name for _, name in found} == {"_apply", "_buffers"}


@pytest.mark.parametrize("entry", ENTRIES, ids=str)
def test_an_entry_goes_when_nothing_needs_it_any_more(entry: Entry) -> None:
    for place in entry.places:
        assert any(foreign.mentions(place, name) for name in entry.names), f"{place} has none"
    for name in entry.names:
        assert any(foreign.mentions(place, name) for place in entry.places), f"{name} is nowhere"


PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
BOUNDS = {canonicalize_name(r.name): r.specifier for r in map(Requirement, PROJECT["dependencies"])}


def ceiling(release: str, numbers: int) -> str:
    """The first release that may change what it does not promise: "2.13.1", 2 -> "2.14"."""
    *head, last = Version(release).release[:numbers]
    return ".".join(map(str, [*head, last + 1]))


def newest(library: str) -> str:
    """The release that the tests run with; only the first two numbers of torch's."""
    lines = (ROOT / ".ci" / "constraints.txt").read_text(encoding="utf-8").splitlines()
    [pin] = [line for line in lines if line.startswith(f"{library}==")]
    return pin.removeprefix(f"{library}==").removesuffix(".*")


@pytest.mark.parametrize("library", MINOR)
def test_a_library_with_entries_ends_before_its_next_minor_release(library: str) -> None:
    upper = [each.version for each in BOUNDS[library] if each.operator == "<"]
    assert upper == [ceiling(newest(library), MINOR[library])]


def test_each_library_with_entries_says_what_its_minor_release_is() -> None:
    assert set(MINOR) == {entry.library for entry in ENTRIES}


@pytest.mark.parametrize(
    ("release", "numbers", "expected"),
    [("2.13", 2, "2.14"), ("5.24.0", 2, "5.25"), ("0.21.2", 2, "0.22"), ("0.4.13", 3, "0.4.14")],
)
def test_the_ceiling_is_the_next_of_its_number(release: str, numbers: int, expected: str) -> None:
    assert ceiling(release, numbers) == expected
