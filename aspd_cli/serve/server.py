"""The socket, the signals and the end: uvicorn around the application.

At SIGTERM or Ctrl-C no connection is accepted any more, and what was accepted is answered.
"""

import logging
import os
import socket
from collections.abc import Callable
from ipaddress import ip_address
from typing import TYPE_CHECKING

import uvicorn

from aspd_cli.engine.options import GenerationOptions
from aspd_cli.errors import AspdError, UsageError
from aspd_cli.recipe.serving import ServeSection
from aspd_cli.safe_text import keep_secret
from aspd_cli.serve.app import Server
from aspd_cli.serve.engine_loop import EngineLoop
from aspd_cli.serve.metrics import Metrics

if TYPE_CHECKING:
    from aspd_cli.engine.decoder import Decoder


def api_key(serve: ServeSection) -> str | None:
    """The key that clients must send; None: none.

    Raises:
        UsageError: other machines could ask, and there is no key.
    """
    key = os.environ.get(serve.api_key_env, "").strip() or None
    if key is not None:
        keep_secret(key)
    elif not is_loopback(serve.host):
        raise UsageError(
            f"{serve.host} can be reached from other machines: set an API key in "
            f"{serve.api_key_env} first, and have clients send it"
        )
    return key


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches `host`."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def open_socket(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one. Raises `AspdError` with the reason."""
    try:
        [family, kind, protocol, _, address] = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, protocol)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.listen(2048)
    except OSError as error:
        raise AspdError(
            f"cannot listen on {host}:{port}: {error.strerror}; use another --host or --port"
        ) from error
    return bound


def run_server(
    decoder: "Decoder",
    options: GenerationOptions,
    serve: ServeSection,
    bound: socket.socket,
    *,
    model: str,
    key: str | None,
    quiet: bool,
    ready: Callable[[], None],
) -> None:
    """Serves until a signal comes.

    Args:
        ready: called once requests are accepted.
    """
    engine = EngineLoop(
        decoder,
        Metrics(model),
        rows=serve.max_num_seqs,
        max_lanes=serve.max_lanes,
        max_waiting=serve.max_queue,
    )
    server = Server(
        engine,
        options,
        model=model,
        max_body=serve.max_body_bytes,
        log_prompts=serve.log_prompts,
    )
    level = logging.WARNING if quiet else logging.INFO
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.WARNING)
    logging.getLogger("aspd").setLevel(level)
    config = uvicorn.Config(
        server.app(api_key=key, local_only=is_loopback(serve.host)),
        log_config=None,
        log_level=logging.WARNING,
        access_log=not quiet,
        ws="none",
        server_header=False,
        timeout_graceful_shutdown=serve.drain_s,
        timeout_keep_alive=30,
    )
    logging.getLogger("uvicorn.access").setLevel(level)  # after uvicorn has set its own
    ready()
    uvicorn.Server(config).run(sockets=[bound])
