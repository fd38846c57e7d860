"""Prompts of requests as token ids that the engine can take.

They are encoded in a thread of their own: a long text must not hold up the streams of others.
"""

import asyncio
import copy
import json
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from aspd_cli.core.chat import encode_prompt
from aspd_cli.core.codec import Codec
from aspd_cli.engine.decoder import Decoder
from aspd_cli.engine.options import GenerationOptions
from aspd_cli.safe_text import printable
from aspd_cli.serve.protocol import RequestError, checked_text

logger = logging.getLogger("aspd")


class PromptEncoder:
    """Encodes and checks prompts for one model.

    Args:
        log_prompts: whether logs hold what was asked.
    """

    def __init__(self, decoder: Decoder, *, log_prompts: bool = False) -> None:
        self.decoder, self.log_prompts = decoder, log_prompts
        # A tokenizer of its own: the engine decodes with the other one at the same time.
        tokenizer = copy.deepcopy(decoder.codec.tokenizer)
        self.codec = Codec(tokenizer, decoder.codec.chat_template_kwargs)
        self._thread = ThreadPoolExecutor(1)

    async def of_chat(self, turns: list[dict[str, str]], options: GenerationOptions) -> list[int]:
        """A conversation. Raises `RequestError` where it does not fit the model."""
        self._log(turns)
        return self._checked(await self.of_turns(turns, options.system), options)

    async def of_completion(self, prompt: str | list[int], options: GenerationOptions) -> list[int]:
        """A text, or ids as they are. Raises `RequestError` where they do not fit the model."""
        self._log(prompt)
        if isinstance(prompt, str):
            prompt = await self.of_text(prompt)
        else:
            self.check_ids(prompt, "prompt")
        return self._checked(prompt, options)

    async def of_turns(self, turns: list[dict[str, str]], system: str | None) -> list[int]:
        """A conversation by the chat template, however long it is."""
        return await self._encoded(encode_prompt, self.codec, turns, system)

    async def of_text(self, text: str) -> list[int]:
        """A text without a template, however long it is."""
        return await self._encoded(self.codec.encode_first, checked_text(text, "prompt"))

    def check_ids(self, ids: Sequence[int], param: str) -> None:
        """Raises `RequestError` for ids that the model does not have."""
        known = self.decoder.runner.known_ids
        bad = next((i for i in ids if not 0 <= i < known), None)
        if bad is not None:
            raise RequestError(
                f"{bad} is not a token id of the model: they go from 0 to {known - 1}", param=param
            )

    async def _encoded(self, encode: Callable[..., list[int]], *given: Any) -> list[int]:
        return await asyncio.get_running_loop().run_in_executor(self._thread, encode, *given)

    def _checked(self, ids: list[int], options: GenerationOptions) -> list[int]:
        """Ids that the engine can take."""
        if options.mode != "plain" and not self.decoder.has_control:
            raise RequestError("the model was not trained to fork: use mode plain", param="mode")
        self.decoder.check_options(options)
        context = self.decoder.context
        if context is not None and len(ids) >= context:
            raise RequestError(
                f"the prompt has {len(ids)} tokens, but the model's context is {context}: "
                "shorten it"
            )
        return ids

    def _log(self, prompt: Any) -> None:
        if self.log_prompts:
            logger.info("prompt: %s", printable(json.dumps(prompt, ensure_ascii=False)))
