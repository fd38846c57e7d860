"""The planner over HTTP: the same answers, and a sentence for each thing that may be wrong."""

import socket

import pytest

from aspd_cli.errors import EndpointError, ModelError
from aspd_cli.vllm.server import VllmServer
from tests.vllm.completions import Completions
from tests.vllm.emulator import EmulatedVllm
from tests.vllm.test_planner import OPTIONS, PROMPTS, same


@pytest.mark.parametrize("losses", [0.0, 0.01])
def test_answers_over_http_are_those_of_our_own_engine(losses, forking, on_vllm):
    emulated = EmulatedVllm(forking[1], tells_all=False, losses=losses)
    with Completions(emulated).running() as url:
        engine = VllmServer(f"{url}/v1")
        assert (engine.model, engine.max_model_len) == ("m", 4096)
        found = on_vllm(engine).generate(PROMPTS[:4], **OPTIONS)
        engine.close()
    assert same(forking[0].generate(PROMPTS[:4], **OPTIONS), found) == [True] * 4
    assert not emulated.running


def test_a_server_without_the_connector_is_refused(forking, on_vllm):
    emulated = EmulatedVllm(forking[1], tells_all=False, has_connector=False)
    with Completions(emulated).running() as url:
        engine = VllmServer(url)
        with pytest.raises(ModelError, match="has no connector of aspd"):
            on_vllm(engine).generate(PROMPTS, **OPTIONS)
        engine.close()


def test_what_a_server_refuses_is_told(forking, on_vllm):
    served = Completions(EmulatedVllm(forking[1]))
    served.refuses = True
    with served.running() as url:
        engine = VllmServer(url)
        with pytest.raises(ModelError, match=r"refuses a request: .*max_tokens is too large"):
            on_vllm(engine).generate(PROMPTS[0], **OPTIONS)
        engine.close()


def test_what_is_no_server_of_vllm_is_told(forking):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(EndpointError, match=f"nothing answers at http://127.0.0.1:{port}"):
        VllmServer(f"http://127.0.0.1:{port}")
    with (
        Completions(EmulatedVllm(forking[1]), owner="aspd").running() as url,
        pytest.raises(EndpointError, match="is no server of vLLM"),
    ):
        VllmServer(url)
    with Completions(EmulatedVllm(forking[1]), key="sesame").running() as url:
        with pytest.raises(EndpointError, match="wants a key"):
            VllmServer(url)
        VllmServer(url, "sesame").close()
