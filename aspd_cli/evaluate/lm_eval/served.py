"""lm-eval's view of a server: it is asked with conversations, and answers with text."""

import json
from collections.abc import Sequence
from typing import Any, NoReturn

from lm_eval.api.model import LM

from aspd_cli.core.chat import to_messages
from aspd_cli.engine.options import GenerationOptions
from aspd_cli.errors import DataError, UsageError
from aspd_cli.evaluate.lm_eval.model import Generate, options_of


class ServedLM(LM):
    """A server as lm-eval's language model. A context is a conversation, as JSON.

    Args:
        system: its name in `--compare`.
    """

    def __init__(self, system: str) -> None:
        super().__init__()
        self.system = system
        self._answer: Generate | None = None
        self.questions: dict[str, str] = {}
        """What a person would have typed, by the context."""

    has_chat_template = True
    """The server's own."""

    @property
    def tokenizer_name(self) -> str:
        return self.system

    def chat_template(self, chat_template: bool | str = False) -> str:
        """The server has it."""
        return ""

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> str:
        """The context of a conversation, see lm-eval.

        Raises:
            UsageError: the task begins the answer itself.
        """
        if not add_generation_prompt:
            raise UsageError(
                f"a task begins the answers itself, which the server {self.system} cannot go on "
                f"with: leave out {self.system}"
            )
        context = json.dumps(chat_history, ensure_ascii=False)
        asked = [turn["content"] for turn in chat_history if turn["role"] == "user"]
        self.questions[context] = asked[-1] if asked else context
        return context

    def options(self, gen_kwargs: dict[str, Any], base: GenerationOptions) -> GenerationOptions:
        """See `AspdLM.options`."""
        return options_of(gen_kwargs, base)

    def encode(self, context: str, options: GenerationOptions) -> dict[str, Any]:
        """A context as fields of an `EvalRequest`."""
        try:
            return {"ids": (), "messages": tuple(to_messages(json.loads(context)))}
        except ValueError:
            raise DataError(f"lm-eval asks {self.system} with what is no conversation") from None

    def generate_until(self, requests: Sequence[Any]) -> list[str]:
        """Plain texts of the answers, in the order of the requests."""
        assert self._answer is not None
        return self._answer(requests)

    def loglikelihood(self, requests: Sequence[Any]) -> NoReturn:
        """Refused before anything is asked, see `runner`."""
        raise UsageError(f"the server {self.system} tells no likelihoods: leave it out")

    loglikelihood_rolling = loglikelihood
