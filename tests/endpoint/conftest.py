"""Pauses between attempts are short here; tests of their length say so."""

import pytest


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aspd_cli.endpoint.failures.FIRST_PAUSE", 0.005)
