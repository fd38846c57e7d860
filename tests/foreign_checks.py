"""What the entries of tests/test_dependencies.py need, asked of the installed releases.

Each check is given an empty folder, and fails when a library does not do what we need of it.
"""

import inspect
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AttentionInterface, AutoModelForCausalLM, Trainer, TrainerState
from transformers import trainer as trainer_module

from aspd_cli.train.run_dir import is_failed_write
from tests import make
from tests.engine.families import FAMILIES, tiny_model

VOCABULARY = 64


def model(family: str = "qwen2", **changes: Any) -> Any:
    return tiny_model(family, VOCABULARY, **changes)


def peft_model(**settings: Any) -> Any:
    """A tiny model with LoRA and trained rows, as `aspd train` makes them."""
    from peft import LoraConfig, get_peft_model

    rows = {"embed_tokens": [1, 2], "lm_head": [1, 2]}
    config = {"r": 2, "target_modules": ["q_proj"], "trainable_token_indices": rows, **settings}
    return get_peft_model(model(), LoraConfig(task_type="CAUSAL_LM", **config))


def parameters(function: Any) -> list[str]:
    return list(inspect.signature(function).parameters)


def packed_products(_: Path) -> None:
    layer, x = torch.nn.Linear(48, 32), torch.randn(3, 48)
    packed = torch.ops.mkldnn._reorder_linear_weight.default(layer.weight.detach(), 8)
    product = torch.ops.mkldnn._linear_pointwise.default(x, packed, layer.bias, "none", [], "")
    torch.testing.assert_close(product, layer(x))


def quantised_products(_: Path) -> None:
    if "fbgemm" not in torch.backends.quantized.supported_engines:
        pytest.skip("this torch has no FBGEMM")
    from aspd_cli.engine.quantized_linear import Int8Linear

    layer, x = torch.nn.Linear(48, 32), torch.randn(3, 48)
    with torch.inference_mode():
        torch.testing.assert_close(Int8Linear(layer)(x), layer(x), atol=0.02, rtol=0.02)


def module_hooks(_: Path) -> None:
    layer = torch.nn.Linear(1, 1)
    assert not layer._forward_hooks
    assert not layer._forward_pre_hooks
    layer.register_forward_hook(lambda *_: None)
    layer.register_forward_pre_hook(lambda *_: None)
    assert layer._forward_hooks
    assert layer._forward_pre_hooks


def full_disk() -> Path:
    """A file that cannot be written, as on a full disk."""
    if not (path := Path("/dev/full")).exists():
        pytest.skip("this system has no device that is always full")
    return path


def failed_writes(_: Path) -> None:
    for size in (10, 2**16):  # what is said depends on when the first buffer is written
        with pytest.raises(RuntimeError) as raised:
            torch.save(torch.zeros(size), full_disk())
        assert is_failed_write(raised.value), raised.value


def failed_tokenizer(_: Path) -> None:
    with pytest.raises(Exception, match="os error") as raised:
        make.tokenizer("qwen", "chatml").backend_tokenizer.save(str(full_disk()))
    assert is_failed_write(raised.value)
    assert not isinstance(raised.value, OSError), "it has a class by now: use that"


def attention_name(_: Path) -> None:
    config = model().config.get_text_config()
    assert config._attn_implementation == "sdpa"
    whole = model()
    whole.set_attn_implementation("eager")
    assert whole.config.get_text_config()._attn_implementation == "eager"


def cache_layer(_: Path) -> None:
    """What has to be there, and that a layer is given its keys and values as they are computed."""
    from transformers.cache_utils import Cache, CacheLayerMixin

    from aspd_cli.engine.kv_cache import LaneLayer

    assert not inspect.isabstract(LaneLayer)
    fed: list[tuple[int, ...]] = []

    class Layer(CacheLayerMixin):
        lazy_initialization = get_mask_sizes = get_seq_length = None
        get_max_length = get_max_cache_shape = None  # the same, as one release or another calls it

        def update(self, key_states: Any, value_states: Any, *args: Any, **kwargs: Any) -> Any:
            fed.append(tuple(key_states.shape))
            return key_states, value_states

    whole = model()
    whole(
        torch.tensor([[1, 2, 3]]),
        position_ids=torch.arange(3)[None],
        attention_mask=torch.ones(1, 1, 3, 3, dtype=torch.bool),
        use_cache=True,
        **{name_of_cache(whole): Cache(layers=[Layer(), Layer()])},
    )
    assert fed == [(1, 2, 3, 8)] * 2


def name_of_cache(whole: Any) -> str:
    [name] = {"cache", "past_key_values"} & set(parameters(whole.forward))
    return name


def cache_argument(_: Path) -> None:
    for family in FAMILIES:
        name_of_cache(model(family))


def attention_arguments(_: Path) -> None:
    passed: list[dict[str, Any]] = []

    def note(module: Any, query: Any, key: Any, value: Any, mask: Any, **rest: Any) -> Any:
        passed.append(rest)
        assert query.shape[1] // key.shape[1] == 2
        return query.transpose(1, 2), None

    AttentionInterface.register("aspd_test", note)
    whole = model("gemma2", attn_logit_softcapping=30.0)
    whole.set_attn_implementation("aspd_test")
    whole(torch.tensor([[1, 2]]), use_cache=False)
    assert [each["sliding_window"] for each in passed] == [9, None]
    assert {each["softcap"] for each in passed} == {30.0}
    assert {each["scaling"] for each in passed} == {8**-0.5}
    from transformers.models.gpt_oss import modeling_gpt_oss

    assert "s_aux=self.sinks" in inspect.getsource(modeling_gpt_oss)


def loading_report(folder: Path) -> None:
    model().save_pretrained(folder)
    _, report = AutoModelForCausalLM.from_pretrained(
        folder, vocab_size=VOCABULARY + 1, ignore_mismatched_sizes=True, output_loading_info=True
    )
    assert not report["missing_keys"]
    assert {name for name, *_ in report["mismatched_keys"]} == {
        "model.embed_tokens.weight",
        "lm_head.weight",
    }


def ready_masks(_: Path) -> None:
    whole, ids = model("gemma3_text"), torch.tensor([[1, 2, 3]])
    told: dict[str, Any] = {}

    def hook(module: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        told["lanes"] = kwargs.pop("lanes")
        return args, kwargs

    whole.base_model.register_forward_pre_hook(hook, with_kwargs=True)
    causal, alone = torch.ones(3, 3).tril().bool(), torch.eye(3).bool()

    def logits(full: Any, sliding: Any) -> Any:
        masks = {"full_attention": full[None, None], "sliding_attention": sliding[None, None]}
        return whole(ids, attention_mask=masks, use_cache=False, lanes="lanes").logits

    assert not torch.allclose(logits(causal, causal)[0, 2], logits(causal, alone)[0, 2])
    assert not torch.allclose(logits(causal, causal)[0, 2], logits(alone, causal)[0, 2])
    expected = whole(ids[:, 2:], position_ids=torch.tensor([[2]]), lanes="lanes").logits
    torch.testing.assert_close(logits(alone, alone)[0, 2], expected[0, 0])
    assert told == {"lanes": "lanes"}


def first_layer(_: Path) -> None:
    whole = model("qwen2")
    attention = whole.base_model.layers[0].self_attn
    assert attention.q_proj.bias.shape == (4 * attention.head_dim,)
    assert attention.k_proj.bias.shape == (2 * attention.head_dim,)
    assert whole.base_model.rotary_emb.inv_freq.shape == (attention.head_dim // 2,)


def zero3(_: Path) -> None:
    from transformers.integrations.deepspeed import is_deepspeed_zero3_enabled

    assert is_deepspeed_zero3_enabled() is False


def model_classes(_: Path) -> None:
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING

    whole = model()
    assert MODEL_FOR_CAUSAL_LM_MAPPING[type(whole.config)] is type(whole)


# That the overrides of the trainer's methods work is for tests/train to show; here only that the
# trainer still calls them, with the same arguments.
LOOP = inspect.getsource(trainer_module)


def train_sampler(_: Path) -> None:
    assert parameters(Trainer._get_train_sampler) == ["self", "train_dataset"]
    assert "self._get_train_sampler" in inspect.getsource(Trainer.get_train_dataloader)


def gradient_norm(_: Path) -> None:
    assert parameters(Trainer._get_grad_norm) == ["self", "model", "grad_norm"]
    assert LOOP.index("self._get_grad_norm(") < LOOP.index("self.optimizer.step()")


def saving(_: Path) -> None:
    assert parameters(Trainer._save) == ["self", "output_dir", "state_dict"]
    source = inspect.getsource(Trainer.save_model)
    assert "self.accelerator.get_state_dict(self.model)" in source
    assert "self._save(output_dir, state_dict=state_dict)" in source
    assert "self._save(output_dir)" in source


def saving_a_checkpoint(_: Path) -> None:
    assert parameters(Trainer._save_checkpoint) == ["self", "model", "trial"]
    assert "self._save_checkpoint(model, trial)" in LOOP


def loading_a_checkpoint(_: Path) -> None:
    assert parameters(Trainer._load_from_checkpoint)[:2] == ["self", "resume_from_checkpoint"]


def sharded_flags(_: Path) -> None:
    assert "self.is_fsdp_enabled = " in LOOP
    assert "self.is_deepspeed_enabled = " in LOOP


def checkpoint_files(folder: Path) -> None:
    TrainerState(global_step=3).save_to_json(str(folder / trainer_module.TRAINER_STATE_NAME))
    assert (folder / "trainer_state.json").is_file()
    assert trainer_module.SCHEDULER_NAME == "scheduler.pt"
    assert trainer_module.OPTIMIZER_NAME == "optimizer.pt"
    assert '"rng_state.pth"' in LOOP
    # Written last, so that its end says that all else was written.
    source = inspect.getsource(Trainer._save_checkpoint)
    assert source.index("self._save_rng_state(") < source.index("self.state.save_to_json(")


def fused_head(_: Path) -> None:
    from trl.trainer.utils import add_fused_lm_head

    whole, ids = model(), torch.tensor([[1, 2, 3, 4]])
    labels = torch.tensor([[-100, -100, 3, 4]])
    logits = whole(ids, use_cache=False).logits
    add_fused_lm_head(whole)
    found = whole(ids, labels=labels, use_cache=False, fused_lm_head=True).log_probs
    expected = logits.log_softmax(-1)[0, [1, 2], [3, 4]]
    assert found.shape == (1, 3)
    assert found[0, 0] == 0
    torch.testing.assert_close(found[0, 1:], expected)


def bias_of_trained_rows(_: Path) -> None:
    head = peft_model().get_output_embeddings()
    assert not hasattr(head, "bias"), "the wrapper has one by now: take ours out"
    head.bias = None
    assert head.bias is None


def adapter_file(folder: Path) -> None:
    from safetensors.torch import load_file

    peft_model().save_pretrained(folder, save_embedding_layers=False)
    names = set(load_file(folder / "adapter_model.safetensors"))
    layer = "base_model.model.model.layers.{}.self_attn.q_proj.lora_{}.weight"
    rows = "base_model.model.{}.token_adapter.trainable_tokens_delta"
    assert names == {
        *(layer.format(index, part) for index in (0, 1) for part in "AB"),
        *(rows.format(table) for table in ("model.embed_tokens", "lm_head")),
    }
    source = inspect.getsource(Trainer._save)
    assert "self.model.save_pretrained(" in source


def load_report(folder: Path) -> None:
    from peft import PeftModel
    from safetensors.torch import load_file, save_file

    peft_model().save_pretrained(folder, save_embedding_layers=False)
    file = folder / "adapter_model.safetensors"
    tensors = load_file(file)
    stray = next(name for name in tensors if "layers.1" in name)
    tensors[stray.replace("layers.1", "layers.9")] = tensors[stray].clone()
    save_file(tensors, file)
    wrapped = PeftModel.from_pretrained(model(), str(folder))
    report = wrapped.load_adapter(str(folder), "default")
    assert any("layers.9" in name for name in report.unexpected_keys)


def device_variable(_: Path) -> None:
    from accelerate import state

    assert '"ACCELERATE_TORCH_DEVICE"' in inspect.getsource(state)


def datasets_cache(folder: Path) -> None:
    import datasets

    (folder / "one.jsonl").write_text('{"a": 1}\n')
    builder = datasets.load_dataset_builder("json", data_files=str(folder / "one.jsonl"))
    assert Path(builder.cache_dir).is_relative_to(datasets.config.HF_DATASETS_CACHE)


def task_settings(_: Path) -> None:
    from lm_eval.tasks import TaskManager

    from aspd_cli.evaluate.lm_eval.tasks import OURS

    manager = TaskManager(include_path=str(OURS), include_defaults=False)
    entry = manager.task_index["aspd_synth_rag"]
    config = manager._factory._load_full_config(entry)
    assert config["task"] == "aspd_synth_rag"
    assert config["test_split"] == "test", "the file that it includes is read too"


def likelihood_calls(_: Path) -> None:
    from lm_eval.api.model import TemplateLM
    from lm_eval.models.huggingface import HFLM

    assert parameters(HFLM._model_call) == ["self", "inps", "attn_mask", "labels"]
    assert parameters(HFLM._loglikelihood_tokens)[:2] == ["self", "requests"]
    assert "self._model_call(" in inspect.getsource(HFLM._loglikelihood_tokens)
    assert "self._loglikelihood_tokens(" in inspect.getsource(HFLM.loglikelihood_rolling)
    assert "self._loglikelihood_tokens(" in inspect.getsource(TemplateLM.loglikelihood)


def model_information(_: Path) -> None:
    from lm_eval.models.huggingface import HFLM

    source = inspect.getsource(HFLM)
    assert "self._model = pretrained" in source
    assert "num_parameters()" in source


def generation_arguments(_: Path) -> None:
    from lm_eval.models.utils import normalize_gen_kwargs

    found = normalize_gen_kwargs({"until": "x", "max_tokens": 7}, 256)
    assert found == {"until": ["x"], "max_gen_toks": 7, "do_sample": False}
    assert normalize_gen_kwargs({"until": []}, 256)["max_gen_toks"] == 256


def usage_errors(_: Path) -> None:
    import typer
    from typer.exceptions import TyperException

    app = typer.Typer()

    @app.command()
    def one(number: int) -> None:
        raise AssertionError

    with pytest.raises(TyperException):
        typer.main.get_command(app).main(["x"], standalone_mode=False)
    assert not issubclass(typer.Exit, TyperException)
