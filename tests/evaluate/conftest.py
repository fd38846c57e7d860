"""Models for evaluations: tiny random ones, one of which likes to fork."""

from pathlib import Path

import pytest

from aspd_cli.engine.decoder import Decoder
from aspd_cli.engine.loading import load
from tests.cli.conftest import forking, ordinary

__all__ = ["forking", "ordinary"]


@pytest.fixture(scope="session")
def decoder(forking: Path) -> Decoder:
    """The model that forks, with its stock model."""
    return load(forking, keep_stock=True)
