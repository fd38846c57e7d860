"""Measures of speed alone: given prompts, or generated questions."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aspd_cli.core.chat import Prompt, to_messages
from aspd_cli.evaluate.requests import EvalRequest
from aspd_cli.evaluate.systems import Runner
from aspd_cli.synth import QUESTION_FAMILIES, examples

if TYPE_CHECKING:
    from aspd_cli.engine.options import GenerationOptions

PROMPTS, SYNTH = "prompts", "synth"
DRAWN = 40
"""Generated questions when nobody says how many."""


@dataclass(frozen=True, slots=True)
class Prompted:
    """One prompt of a file."""

    id: str
    category: str
    prompt: Prompt


def speed_requests(
    runners: Sequence[Runner],
    prompts: Sequence[Prompted] | None,
    options: "GenerationOptions",
    limit: int | None = None,
) -> dict[str, list[EvalRequest]]:
    """The prompts as each system gets them.

    Args:
        prompts: None: generated questions.
        limit: so many of them, evenly spaced where they are given.

    Raises:
        ModelError: a prompt does not fit a model's context.
    """
    task = SYNTH if prompts is None else PROMPTS
    if prompts is None:
        drawn = examples(limit or DRAWN, split="test", families=QUESTION_FAMILIES)
        chosen = [Prompted(str(at), each.family, each.question) for at, each in enumerate(drawn)]
    else:
        number = min(limit or len(prompts), len(prompts))
        chosen = [prompts[at * len(prompts) // number] for at in range(number)]
    return {
        runner.system.name: [
            EvalRequest(
                task=task,
                category=each.category or task,
                doc_id=each.id,
                prompt="\n".join(m["content"] for m in to_messages(each.prompt)),
                options=options,
                **runner.encode(each.prompt, options),
            )
            for each in chosen
        ]
        for runner in runners
    }
