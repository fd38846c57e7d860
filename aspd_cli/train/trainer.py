"""TRL's SFTTrainer, thinly adapted: branch masks, loss by kind of token, Muon for small models.

`assemble` puts the trainer of a run together from model, data, arguments and callbacks.

Shapes: N records, K kinds of token.
"""

import json
import math
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PrinterCallback, TrainerState
from transformers.integrations.deepspeed import is_deepspeed_zero3_enabled
from trl import SFTConfig, SFTTrainer

from aspd_cli.core.codec import ControlIds
from aspd_cli.errors import ModelError, TrainingError
from aspd_cli.recipe import Recipe
from aspd_cli.train import branch_mask, run_dir
from aspd_cli.train.adapter import UNSHARDED, lora_config
from aspd_cli.train.batching import BranchCollator, LengthSampler
from aspd_cli.train.callbacks import Listener, SampleWriter, Telling, borrowed
from aspd_cli.train.encoding import values
from aspd_cli.train.losses import loss_means, loss_sums
from aspd_cli.train.model import load_model
from aspd_cli.train.optim import MuonAdamW
from aspd_cli.train.preparation import Preparation
from aspd_cli.train.run_dir import STATE, is_failed_write

_WRONG = {
    "packing": "packing puts records into one sequence, where they would see each other",
    "padding_free": "without padding records would see each other",
    "use_liger_kernel": "Liger replaces the forward pass that takes the mask",
    "remove_unused_columns": "it would remove the columns that define the attention mask",
    "max_length": "TRL would cut records inside their blocks",
}
"""Arguments of TRL that would train something else without a word, and why."""


class BranchTrainer(SFTTrainer):
    """SFTTrainer for batches of `BranchCollator`.

    Args:
        control: the control tokens, for the losses of an evaluation; None without blocks.
        muon: optimise with Muon, see `MuonAdamW`.

    Raises:
        TrainingError: `args` ask for what cannot go with a branch mask.
        ModelError: nor can the model's attention.
    """

    model: Any  # the typed attribute may be None or a bare module

    def __init__(
        self,
        *args: Any,
        control: ControlIds | None = None,
        muon: bool = False,
        **kwargs: Any,
    ) -> None:
        self._control, self._muon = control, muon
        self._sums: list[Tensor] = []
        self.save_dtype: torch.dtype | None = None
        """Number format of the next weights that are saved; None: as they are."""
        for name, why in _WRONG.items():
            if getattr(kwargs["args"], name, None):
                raise TrainingError(f"{name} does not work with branches: {why}; turn it off")
        super().__init__(*args, **kwargs)
        branch_mask.install(self.model.get_base_model() if is_peft(self.model) else self.model)
        head = self.model.get_output_embeddings()
        if not hasattr(head, "bias"):  # peft's wrapper of trained rows; TRL's fused head reads it
            head.bias = None
        if is_peft(self.model):  # the six rows are in the adapter; the whole tables need not be
            self.model.save_pretrained = partial(
                self.model.save_pretrained, save_embedding_layers=False
            )

    @property
    def is_sharded(self) -> bool:
        """Whether FSDP or DeepSpeed hold the model in parts."""
        return bool(self.is_fsdp_enabled or self.is_deepspeed_enabled)

    def _get_train_sampler(self, train_dataset: Any = None) -> LengthSampler:
        lengths = values(train_dataset or self.train_dataset, "length")
        return LengthSampler(lengths, self.args.train_batch_size, self.args.seed)

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """The optimizer by its transformers name, or Muon."""
        if not self._muon:
            return super().create_optimizer() if model is None else super().create_optimizer(model)
        self.optimizer = MuonAdamW.of(
            self.model,
            lr=self.args.learning_rate,
            betas=(self.args.adam_beta1, self.args.adam_beta2),
            weight_decay=self.args.weight_decay,
        )
        return self.optimizer

    def prediction_step(
        self,
        model: Any,
        inputs: Any,
        prediction_loss_only: bool,
        ignore_keys: Any = None,
    ) -> tuple[Tensor, None, None]:
        """The loss of a batch of an evaluation, which also goes into the sums by kind of token."""
        inputs = {name: held.to(self.args.device) for name, held in inputs.items()}
        with torch.no_grad(), self.compute_loss_context_manager():
            log_probs = model(**inputs, use_cache=False, fused_lm_head=True).log_probs
        found = loss_sums(log_probs, inputs, self._control)  # (N, K, 2)
        # Per record, so that records which only fill up the last batch of a process fall out.
        self._sums.append(self.accelerator.gather_for_metrics(found).double().sum(0).cpu())
        total = found.sum((0, 1))
        return total[0] / total[1].clamp(min=1), None, None

    def evaluation_loop(
        self,
        dataloader: Any,
        description: str,
        prediction_loss_only: bool | None = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> Any:
        """Adds the exact means over tokens: `eval_loss`, and `eval_loss_KIND` for each kind."""
        self._sums = []
        output = super().evaluation_loop(
            dataloader, description, prediction_loss_only, ignore_keys, metric_key_prefix
        )
        if self._sums:
            means = loss_means(torch.stack(self._sums).sum(0))
            output.metrics.update({f"{metric_key_prefix}_{k}": v for k, v in means.items()})
        return output

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        """Stops before a step with gradients that are no numbers would spoil the weights."""
        norm = super()._get_grad_norm(model, grad_norm=grad_norm)
        scaled = self.accelerator.mixed_precision == "fp16"  # skips such steps itself
        if norm is not None and not scaled and not torch.isfinite(torch.as_tensor(norm)):
            raise TrainingError(
                f"the gradients are not finite (norm {float(norm)}) at step "
                f"{self.state.global_step + 1}: lower training.learning_rate, or check the "
                "records of this step; the newest checkpoint is intact, and --resume continues "
                "from it"
            )
        return norm

    def _save(self, output_dir: Any = None, state_dict: Any = None) -> None:
        """Casts gathered weights to `save_dtype`, and lets their configuration say so."""
        dtype = self.save_dtype
        if dtype is not None and state_dict is not None:
            state_dict = {
                k: v.to(dtype) if v.is_floating_point() else v for k, v in state_dict.items()
            }
        super()._save(output_dir, state_dict)
        config = Path(output_dir or str(self.args.output_dir)) / "config.json"
        if dtype is not None and self.args.should_save and config.is_file():
            found = json.loads(config.read_text(encoding="utf-8"))
            found["dtype"] = str(dtype).removeprefix("torch.")
            config.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: `train.model_card` writes one that knows what the run was."""

    @property
    def total_steps(self) -> int:
        """Optimizer steps of the whole run, those of earlier sessions included."""
        if self.args.max_steps > 0:
            return int(self.args.max_steps)
        batches = len(self.get_train_dataloader())
        steps = max(1, math.ceil(batches / self.args.gradient_accumulation_steps))
        return math.ceil(self.args.num_train_epochs * steps)

    def restored_at_its_end(self, checkpoint: Path) -> bool:
        """Takes the weights of a checkpoint that has all steps behind it, if it has.

        Resumed there, transformers would train one step more. Sharded weights are not restored so.
        """
        state = TrainerState.load_from_json(str(checkpoint / STATE))
        if self.is_sharded or state.global_step < self.total_steps:
            return False
        self._load_from_checkpoint(str(checkpoint))
        own, self.state = self.state, state
        state.is_world_process_zero = own.is_world_process_zero
        return True

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Removes what a failed write has left, so that nothing takes it for a checkpoint."""
        try:
            super()._save_checkpoint(model, trial)
        except Exception as error:
            if not is_failed_write(error):
                raise
            step = self.state.global_step
            torn = Path(str(self.args.output_dir)) / f"checkpoint-{step}"
            shutil.rmtree(torn, ignore_errors=True)
            raise TrainingError(
                f"cannot write the checkpoint of step {step} to {torn.parent}: "
                f"{str(error).splitlines()[0]}; free disk space, then continue with --resume"
            ) from error


def is_peft(model: Any) -> bool:
    """Whether adapters are trained, and not the model itself."""
    return hasattr(model, "get_base_model")


def assemble(
    recipe: Recipe, made: Preparation, args: SFTConfig, run: Path, tell: Listener
) -> BranchTrainer:
    """The trainer of a run, with a model that is known to decode.

    Raises:
        ModelError: the model cannot be loaded, trained with these settings or decoded.
    """
    tokenizer, codec = made.vocabulary.tokenizer, made.vocabulary.codec
    model = load_model(recipe, made.config, made.vocabulary)
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    try:
        trainer = BranchTrainer(
            model=model,
            args=args,
            train_dataset=made.train.data,
            eval_dataset=made.eval.data if made.eval else None,
            processing_class=tokenizer,
            data_collator=BranchCollator(pad, _packing(recipe, model, args)),
            peft_config=recipe.lora and lora_config(recipe.lora, model, codec),
            muon=recipe.training.optim == "muon",
            control=codec.control,
        )
    except ValueError as error:  # TRL, PEFT and accelerate on what they cannot combine
        raise ModelError(
            f"cannot train with these settings: {str(error).splitlines()[0]}"
        ) from error
    if recipe.lora is not None and trainer.is_fsdp_enabled:
        raise ModelError(UNSHARDED.format("FSDP"))
    if not next(model.parameters()).is_meta and not is_deepspeed_zero3_enabled():
        arguments = recipe.data.chat_template_kwargs
        with borrowed(model, tokenizer, recipe.model.positions, 1, arguments):
            pass  # its self-test says now what would be said after hours of training
    _add_callbacks(trainer, recipe, made, run, tell)
    return trainer


def _packing(recipe: Recipe, model: Any, args: SFTConfig) -> bool:
    """Whether records share a row. DataParallel would part a batch at its rows."""
    possible = branch_mask.takes_rows_of_records(model.config) and args.n_gpu < 2
    return recipe.training.packing and possible


def _add_callbacks(
    trainer: BranchTrainer, recipe: Recipe, made: Preparation, run: Path, tell: Listener
) -> None:
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(Telling(tell))
    if made.eval is None or not recipe.training.samples:
        return
    if trainer.is_sharded:
        tell.say("no sample answers: the model's weights are sharded over processes")
        return
    options = recipe.generation
    if recipe.data.style == "serial":  # a Seq model never learns to fork
        options = options.model_copy(update={"mode": "plain"})
    trainer.add_callback(
        SampleWriter(
            run / run_dir.SAMPLES,
            made.prompts,
            options,
            trainer.processing_class,
            recipe.model.positions,
            max(made.train.depth, 1),
            recipe.data.chat_template_kwargs,
        )
    )
