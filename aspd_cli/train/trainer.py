"""TRL's SFTTrainer, thinly adapted: branch masks, loss by kind of token, Muon for small models."""

import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import TrainerState
from trl import SFTTrainer

from aspd_cli.core.tokens import ControlIds
from aspd_cli.errors import TrainingError
from aspd_cli.train import losses, mask
from aspd_cli.train.dataset import values
from aspd_cli.train.muon import MuonAdamW
from aspd_cli.train.rundir import STATE, is_failed_write
from aspd_cli.train.sampler import LengthSampler

_WRONG = {
    "packing": "packing puts records into one sequence, where they would see each other",
    "padding_free": "without padding records would see each other",
    "use_liger_kernel": "Liger replaces the forward pass that takes the mask",
    "remove_unused_columns": "the columns it removes hold who sees whom",
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
                raise TrainingError(f"{name} cannot go with branches: {why}; turn it off")
        super().__init__(*args, **kwargs)
        mask.install(self.model.get_base_model() if is_peft(self.model) else self.model)
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
        found = losses.sums(log_probs, inputs, self._control)  # (B, K, 2)
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
            means = losses.means(torch.stack(self._sums).sum(0))
            output.metrics.update({f"{metric_key_prefix}_{k}": v for k, v in means.items()})
        return output

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        """Stops before a step with gradients that are no numbers would spoil the weights."""
        norm = super()._get_grad_norm(model, grad_norm=grad_norm)
        scaled = self.accelerator.mixed_precision == "fp16"  # skips such steps itself
        if norm is not None and not scaled and not torch.isfinite(torch.as_tensor(norm)):
            raise TrainingError(
                f"the gradients are no numbers (norm {float(norm)}) at step "
                f"{self.state.global_step + 1}: lower training.learning_rate, or look at the "
                "records of this step; the weights in the newest checkpoint are sound, and "
                "--resume goes on from there"
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

    def restored_at_its_end(self, checkpoint: Path) -> bool:
        """Takes the weights of a checkpoint that has all `max_steps` behind it, if it has.

        Resumed there, transformers would train one step more. Sharded weights are not restored so.
        """
        state = TrainerState.load_from_json(str(checkpoint / STATE))
        if self.is_sharded or not 0 < self.args.max_steps <= state.global_step:
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
                f"the checkpoint of step {step} cannot be written to {torn.parent}: "
                f"{str(error).splitlines()[0]}; make room, then go on with --resume"
            ) from error


def is_peft(model: Any) -> bool:
    """Whether adapters are trained, and not the model itself."""
    return hasattr(model, "get_base_model")
