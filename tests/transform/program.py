"""The commands `transform` and `validate` as a user calls them."""

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from aspd_cli.cli.main import app
from aspd_cli.transform import token_counts

Cli = Callable[..., Result]


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Calls the program in this process: `cli("validate", path).exit_code`."""
    monkeypatch.setattr(token_counts, "EMBEDDED_MODEL", Path("/no/such"))  # tokens are estimated

    def call(*args: str | Path, input: str | bytes | None = None) -> Result:
        return CliRunner().invoke(app, [str(arg) for arg in args], input=input)

    return call
