"""vLLM behind a server of its own: token ids to `/v1/completions`, and token ids back."""

import asyncio
import json
import queue
import threading
from collections.abc import Sequence
from typing import Any

from aspd_cli.errors import AspdError, EndpointError, ModelError
from aspd_cli.safe_text import excerpt, redact
from aspd_cli.vllm.token_engine import TokenOutput, TokenRequest

_WAIT_S = 0.05
"""Longest that `poll` waits."""
_CONNECT_S = 15.0


class VllmServer:
    """The connection to a running server, in a thread of its own.

    Args:
        url: of the server, as in `http://127.0.0.1:8000`, with `/v1` or without.
        key: that the server asks for; empty: none.

    Raises:
        EndpointError: nothing answers there, or it is no server of vLLM.
    """

    tells_all = False

    def __init__(self, url: str, key: str = "") -> None:
        self.url = redact(url.rstrip("/").removesuffix("/v1"))
        self._address = url.rstrip("/").removesuffix("/v1")
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._outputs: queue.SimpleQueue[TokenOutput | AspdError] = queue.SimpleQueue()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        try:
            card = self._run(self._open())
        except BaseException:
            self.close()
            raise
        self.model = str(card["id"])
        found = card.get("max_model_len")
        self.max_model_len = int(found) if found else None

    def submit(self, request: TokenRequest) -> None:
        self._loop.call_soon_threadsafe(self._begin, request)

    def abort(self, ids: Sequence[str]) -> None:
        """Closes their connections, whereupon the server ends them."""
        self._loop.call_soon_threadsafe(self._cancel, tuple(ids))

    def poll(self) -> list[TokenOutput]:
        found: list[TokenOutput] = []
        try:
            item = self._outputs.get(timeout=_WAIT_S)
            while True:
                if isinstance(item, AspdError):
                    raise item
                found.append(item)
                item = self._outputs.get_nowait()
        except queue.Empty:
            return found

    def close(self) -> None:
        if self._loop.is_closed():
            return
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _open(self) -> dict[str, Any]:
        import aiohttp

        timeout = aiohttp.ClientTimeout(total=None, connect=_CONNECT_S)
        self._session = aiohttp.ClientSession(
            headers=self._headers, timeout=timeout, connector=aiohttp.TCPConnector(limit=0)
        )
        try:
            async with self._session.get(f"{self._address}/v1/models") as response:
                said = await response.text()
                if response.status in (401, 403):
                    raise EndpointError(
                        f"{self.url} wants a key: set the variable that vllm.api_key_env names"
                    )
                [card, *_] = json.loads(said)["data"]
        except (aiohttp.ClientError, OSError) as error:
            raise EndpointError(
                f"nothing answers at {self.url}: {redact(str(error))}; start the server there "
                "with the command of `aspd serve --engine vllm --print-command`"
            ) from error
        except (ValueError, KeyError, TypeError) as error:
            raise EndpointError(f"{self.url} is no server of vLLM: it lists no model") from error
        if card.get("owned_by") != "vllm":
            raise EndpointError(f"{self.url} is no server of vLLM, which vllm.url must be")
        return dict(card)

    async def _close(self) -> None:
        tasks = list(self._tasks.values())
        self._cancel(tuple(self._tasks))
        await asyncio.gather(*tasks, return_exceptions=True)
        if session := getattr(self, "_session", None):
            await session.close()

    def _begin(self, request: TokenRequest) -> None:
        task = self._loop.create_task(self._ask(request))
        self._tasks[request.id] = task
        task.add_done_callback(lambda _: self._tasks.pop(request.id, None))

    def _cancel(self, ids: Sequence[str]) -> None:
        for task in filter(None, map(self._tasks.get, ids)):
            task.cancel()

    async def _ask(self, request: TokenRequest) -> None:
        import aiohttp

        try:
            async with self._session.post(
                f"{self._address}/v1/completions", json=self._body(request)
            ) as response:
                if response.status != 200:
                    self._fail(request, response.status, await response.text())
                elif request.streams:
                    async for line in response.content:
                        if line.startswith(b"data: {"):
                            self._tell(request, json.loads(line[6:]))
                else:
                    self._tell(request, await response.json())
        except (aiohttp.ClientError, OSError) as error:
            self._outputs.put(
                EndpointError(
                    f"the connection to {self.url} is lost: {redact(str(error))}; run the same "
                    "command again when the server is well"
                )
            )
        except (ValueError, KeyError, TypeError, IndexError) as error:
            self._outputs.put(
                EndpointError(f"{self.url} answers in a form that aspd does not know: {error!r}")
            )

    def _body(self, request: TokenRequest) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self.model,
            "prompt": list(request.prompt_ids),
            "stream": request.streams,
            "return_token_ids": True,
            "kv_transfer_params": {"aspd": dict(request.cache)},
            **request.sampling(),
        }
        if request.salt is not None:
            body["cache_salt"] = request.salt
        if request.logprobs is not None:
            body["return_tokens_as_token_ids"] = True
        return body

    def _tell(self, request: TokenRequest, said: dict[str, Any]) -> None:
        if "error" in said:
            error = said["error"]
            self._fail(request, int(error.get("code") or 500), str(error.get("message")))
            return
        for choice in said["choices"]:
            stop, told = choice.get("stop_reason"), said.get("kv_transfer_params") or {}
            self._outputs.put(
                TokenOutput(
                    request.id,
                    choice.get("token_ids") or (),
                    choice.get("finish_reason") is not None,
                    stop if isinstance(stop, int) else None,
                    told=told.get("aspd"),
                    logprobs=_likely(choice.get("logprobs")),
                )
            )

    def _fail(self, request: TokenRequest, status: int, said: str) -> None:
        """A request whose keys and values are gone fails like one that meets a fault of vLLM."""
        if status >= 500:
            self._outputs.put(TokenOutput(request.id, finished=True, lost=True))
        else:
            self._outputs.put(ModelError(f"{self.url} refuses a request: {excerpt(said)}"))


def _likely(told: dict[str, Any] | None) -> list[dict[int, float]]:
    places = (told or {}).get("top_logprobs") or ()
    return [
        {int(token.removeprefix("token_id:")): float(value) for token, value in place.items()}
        for place in places
    ]
