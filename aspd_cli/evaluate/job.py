"""A job: what one run of `aspd eval` was told, and what its parts need to know of that."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from aspd_cli.errors import UsageError
from aspd_cli.evaluate.processes import Processes
from aspd_cli.evaluate.prompt_sets import Prompted
from aspd_cli.evaluate.systems import Runner, open_systems

if TYPE_CHECKING:
    from aspd_cli.engine.decoder import Decoder
    from aspd_cli.engine.options import GenerationOptions
    from aspd_cli.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Job:
    """The recipe of a run, and what the command line adds to it."""

    recipe: "Recipe"
    processes: Processes
    documents: Path | None = None
    """Whose loss is measured, and nothing else."""
    replay: Path | None = None
    random_weights: bool = False
    prompts: Sequence[Prompted] | None = None
    """For measures of speed alone, when neither tasks nor a replay are asked for."""
    rejected: Sequence[str] = ()
    """Lines of the file of prompts that hold none, and why: one sentence each."""
    confirm_run_unsafe_code: bool = False
    expect: Callable[[int], None] = field(default=lambda _: None)
    """Is told how many more answers there will be."""
    advance: Callable[[int], None] = field(default=lambda _: None)
    """Is told how many more answers there are."""

    def whole_limit(self, what: str) -> int | None:
        """`--limit` where it counts prompts or documents. Raises `UsageError` for a fraction."""
        limit = self.recipe.evaluation.limit
        if limit is not None and (limit < 1 or limit != int(limit)):
            raise UsageError(f"--limit {limit:g} is a fraction; give a whole number of {what}")
        return None if limit is None else int(limit)

    def options(self) -> "GenerationOptions":
        """How answers are decoded where nothing else says."""
        from aspd_cli.engine.options import GenerationOptions

        return GenerationOptions(**self.recipe.generation.model_dump(exclude={"batch_size"}))

    def open(self, words: Sequence[str], held: ExitStack) -> list[Runner]:
        """The systems of `--compare`; `held` closes what was opened for them.

        Raises:
            UsageError, ModelError, EndpointError: see `open_systems`.
        """
        recipe, model = self.recipe, self.recipe.model

        def load_model(path: str | None, adapter: str | None, keep_stock: bool) -> "Decoder":
            if model.engine == "vllm":
                from aspd_cli.vllm.decoder import open_vllm

                if (path, adapter) != (model.path, model.adapter):
                    raise UsageError(
                        "vLLM runs one model: leave NAME=PATH out, or evaluate it apart"
                    )
                decoder = open_vllm(recipe)
                held.callback(decoder.close)
                return decoder
            from aspd_cli.engine.loading import load

            return load(
                path,
                adapter,
                self.processes.device(model.device),
                model.dtype,
                device_map=model.device_map,
                keep_stock=keep_stock,
                trust_remote_code=model.trust_remote_code,
                chat_template_kwargs=recipe.data.chat_template_kwargs or None,
                quantize=model.quantize,
                compile=model.compile,
            )

        return open_systems(words, model, load_model, held)
