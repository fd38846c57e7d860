"""What is missing is told before anything is loaded, all of it at once, and without waiting."""

import json
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

import datasets
import pytest
from huggingface_hub import constants

from aspd_cli.errors import AspdError, DataError, ModelError, RecipeError, TrainingError
from aspd_cli.train.config import check_recipe
from tests.train.conftest import recipe


@pytest.fixture
def online(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Offline mode is off, and nobody listens where the Hub should be."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    return monkeypatch


def test_all_that_is_missing_is_told_at_once(tmp_path: Path) -> None:
    wrong = {
        "data__train": "train.jsonl",
        "data__eval": "org/nowhere",
        "model__tokenizer": "./nowhere",
        "training__max_steps": 0,
    }
    with pytest.raises(RecipeError) as caught:
        check_recipe(recipe(tmp_path / "model", tmp_path / "run", **wrong), push="a b")
    head, *lines = str(caught.value).split("\n  ")
    assert head == "6 problems in the recipe:"
    for words in (
        "training.max_steps: must be -1",
        "--push: a b is not a repository name; write NAME or OWNER/NAME",
        "no file train.jsonl",
        "cannot read the training data org/nowhere: it is not in the cache, and HF_HUB_OFFLINE",
        f"cannot load the model {tmp_path}/model to train it: there is no such directory",
        "cannot load the tokenizer ./nowhere to train it: there is no such directory",
    ):
        assert sum(line.startswith(words) for line in lines) == 1, words


def test_what_is_no_model_says_what_it_is(base: Path, tmp_path: Path) -> None:
    file, folder = tmp_path / "model.bin", tmp_path / "adapter"
    file.write_text("GGUF")
    folder.mkdir()
    for path, words in ((file, "it is a file"), (folder, "contains no config.json")):
        with pytest.raises(ModelError, match=words):
            check_recipe(recipe(path, tmp_path / "run"))
    (folder / "adapter_config.json").write_text("{}")
    with pytest.raises(ModelError, match="it is an adapter; merge it"):
        check_recipe(recipe(folder, tmp_path / "run"))


@pytest.mark.parametrize(
    ("field", "kind", "words"),
    [
        ("model__path", ModelError, "cannot load the model org/nowhere to train it: it is not in"),
        ("data__train", DataError, "cannot read the training data org/nowhere: it is not in"),
    ],
)
def test_without_a_network_nothing_is_waited_for(
    base: Path,
    tmp_path: Path,
    online: pytest.MonkeyPatch,
    field: str,
    kind: type[AspdError],
    words: str,
) -> None:
    started = time.perf_counter()
    with pytest.raises(kind, match=f"{words} the cache, and the Hub does not answer"):
        check_recipe(recipe(base, tmp_path / "run", **{field: "org/nowhere"}))
    assert time.perf_counter() - started < 5
    online.setenv("HF_TOKEN", "hf_x")
    with pytest.raises(TrainingError, match=r"the Hub does not take the token.*--push") as caught:
        check_recipe(recipe(base, tmp_path / "run"), push="someone/model")
    assert "\n" not in str(caught.value)


class Hub(BaseHTTPRequestHandler):
    """Says whose token it is."""

    who: ClassVar[dict[str, Any]] = {}

    def log_message(self, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        data = json.dumps(self.who).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def hub(online: pytest.MonkeyPatch) -> Iterator[type[Hub]]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    Thread(target=server.serve_forever, daemon=True).start()
    online.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    online.setenv("HF_TOKEN", "hf_x")
    yield Hub
    server.shutdown()
    server.server_close()


def test_a_place_that_cannot_be_written_to_is_told_before_training(
    base: Path, tmp_path: Path, hub: type[Hub]
) -> None:
    made = recipe(base, tmp_path / "run")
    hub.who = {"name": "me", "orgs": [{"name": "ours"}]}
    hub.who["auth"] = {"accessToken": {"role": "write"}}
    for place in ("model", "me/model", "ours/model"):
        check_recipe(made, push=place)
    with pytest.raises(TrainingError, match="user me is not a member of theirs"):
        check_recipe(made, push="theirs/model")
    hub.who["auth"] = {"accessToken": {"role": "read"}}
    with pytest.raises(TrainingError, match="the token may only read"):
        check_recipe(made, push="me/model")


def test_an_upload_without_a_token_is_refused(
    base: Path, tmp_path: Path, online: pytest.MonkeyPatch
) -> None:
    online.delenv("HF_TOKEN", raising=False)
    online.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    with pytest.raises(RecipeError, match=r"needs a token of the Hub: run `hf auth login`"):
        check_recipe(recipe(base, tmp_path / "run"), push="someone/model")
