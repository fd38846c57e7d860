"""What a bug report says of a machine: versions, processors, caches, variables, one model.

    here = environment()
    here.cpu.name, [each.name for each in here.libraries if not each.fits]

It only gathers; `aspd env` prints. Of the environment's variables it tells those of `VARIABLES` and
the cache folders, so that no token gets into a report.
"""

import os
import platform
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from aspd_cli import __version__
from aspd_cli.errors import AspdError

if TYPE_CHECKING:
    from packaging.specifiers import SpecifierSet

    from aspd_cli.engine.decoder import Decoder

LIBRARIES = (
    *("torch", "transformers", "tokenizers", "trl", "peft", "accelerate", "datasets"),
    *("lm-eval", "openai", "safetensors", "numpy", "typer"),
)
VARIABLES = (
    *("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"),
    *("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "CUDA_VISIBLE_DEVICES"),
)
"""Variables that change what a run does or how fast it is, and that hold no secret."""
FLAGS = (
    *("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16"),
    *("amx_tile", "amx_int8", "amx_bf16", "asimd", "sve", "bf16", "i8mm"),
)
"""Instructions of a processor that decide which kernels torch and oneDNN have."""
_CPUINFO = Path("/proc/cpuinfo")


@dataclass(frozen=True, slots=True)
class Library:
    """A library that aspd stands on."""

    name: str
    version: str | None
    """None: not installed."""
    bounds: str
    """Versions that aspd's own metadata asks for; "" where it asks for none."""
    fits: bool
    """Whether it is installed and within the bounds."""


@dataclass(frozen=True, slots=True)
class Cpu:
    """The processor, as the system tells it."""

    name: str
    cores: int | None
    flags: tuple[str, ...] | None
    """Those of `FLAGS` that it has; None where the system does not say."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """A CUDA device that torch can use."""

    name: str
    memory: int
    """Bytes."""


@dataclass(frozen=True, slots=True)
class Torch:
    """What torch makes of the machine."""

    threads: int
    """Threads that one operation on the CPU uses."""
    capability: str
    """Instructions that its own CPU kernels use, like AVX2."""
    onednn: bool
    """Whether it has oneDNN's kernels."""
    cuda: str | None
    """The version of CUDA that it was built for."""
    gpus: tuple[Gpu, ...]
    device: str
    """What `--device auto` means here."""
    dtype: str
    """What `--dtype auto` means on that device."""


@dataclass(frozen=True, slots=True)
class Environment:
    """All but a model."""

    aspd: str
    python: str
    platform: str
    libraries: tuple[Library, ...]
    cpu: Cpu
    driver: str | None
    """Version of NVIDIA's driver; None where there is none."""
    torch: Torch | None
    problem: str | None
    """Why `torch` is None."""
    caches: Mapping[str, str]
    """Variable that moves a cache -> where it is."""
    variables: Mapping[str, str | None]
    """Variable of `VARIABLES` -> its value; None: not set."""


@dataclass(frozen=True, slots=True)
class Model:
    """How a model is run here, or why it is not."""

    name: str
    device: str | None = None
    dtype: str | None = None
    kernels: str | None = None
    """What was chosen for its linear layers."""
    steps: str | None = None
    """What runs its decode steps."""
    problem: str | None = None
    """Why it cannot be loaded; all else is None then."""


def environment() -> Environment:
    """The machine that this process runs on. Broken libraries are reported, not raised."""
    seen, problem = None, None
    try:
        seen = _torch()
    except Exception as error:  # a report is asked for when libraries do not even import
        problem = _reason(error)
    facts = _processor()
    return Environment(
        aspd=__version__,
        python=platform.python_version(),
        platform=platform.platform(),
        libraries=libraries(),
        cpu=Cpu(_name(facts), os.cpu_count(), cpu_flags(facts)),
        driver=_driver(),
        torch=seen,
        problem=problem,
        caches=_caches(),
        variables={name: os.environ.get(name) for name in VARIABLES},
    )


def describe(name: str, load: Callable[[], "Decoder"]) -> Model:
    """The model that `load` gives, or what keeps it from doing so."""
    try:
        decoder = load()
    except Exception as error:  # as for torch
        return Model(name, problem=_reason(error))
    return Model(
        name,
        device=str(decoder.device),
        dtype=str(decoder.model.dtype).removeprefix("torch."),
        kernels=str(decoder.kernels),
        steps=str(decoder.runner),
    )


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, AspdError) else f"{type(error).__name__}: {error}"


def installed(name: str) -> str | None:
    """The version of a library; None where it is not installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def libraries() -> tuple[Library, ...]:
    """`LIBRARIES`, each beside the bounds that aspd declares for it."""
    declared = _declared()
    found = []
    for name in LIBRARIES:
        version, bounds = installed(name), declared.get(name)
        fits = version is not None and (bounds is None or bounds.contains(version, True))
        # The lower bound first, which is how one writes them.
        text = ",".join(sorted(map(str, bounds or ()), reverse=True))
        found.append(Library(name, version, text, fits))
    return tuple(found)


def _declared() -> dict[str, "SpecifierSet"]:
    """Library -> versions that aspd asks for; empty when it runs without being installed."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    try:
        lines = metadata.requires("aspd") or ()
    except metadata.PackageNotFoundError:
        return {}
    asked = [Requirement(line) for line in lines]
    return {
        canonicalize_name(each.name): each.specifier
        for each in asked
        if each.marker is None or each.marker.evaluate({"extra": ""})
    }


def cpu_name() -> str:
    """The processor's name, or its kind where the system knows no name."""
    return _name(_processor())


def _name(facts: Mapping[str, str]) -> str:
    named = facts.get("model name") or facts.get("machdep.cpu.brand_string")
    return named or platform.processor() or platform.machine()


def cpu_flags(facts: Mapping[str, str]) -> tuple[str, ...] | None:
    """Those of `FLAGS` that are in the facts of a processor; None where they name no instruction.

    Linux lists them in one line, macOS in two, or one by one on a processor of Apple's own.
    """
    lists = ("flags", "Features", "machdep.cpu.features", "machdep.cpu.leaf7_features")
    found = set(" ".join(facts.get(name, "") for name in lists).lower().split())
    found |= {
        name.rpartition("FEAT_")[2].lower()
        for name, value in facts.items()
        if "FEAT_" in name and value == "1"
    }
    return tuple(flag for flag in FLAGS if flag in found) if found else None


def _processor() -> dict[str, str]:
    """What Linux or macOS says of the first processor, name -> value."""
    try:
        text = _CPUINFO.read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = _said("sysctl", "machdep.cpu", "hw.optional")
    lines = text.strip().partition("\n\n")[0].splitlines()
    pairs = [line.partition(":") for line in lines]
    return {name.strip(): value.strip() for name, _, value in pairs}


def _driver() -> str | None:
    said = _said("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")
    return said.splitlines()[0].strip() if said.strip() else None


def _said(*command: str) -> str:
    """What a program prints; "" where there is no such program, or it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout


def _torch() -> Torch:
    import torch

    from aspd_cli.engine.loading import choose_device, choose_dtype

    devices = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    auto = choose_device(None)
    return Torch(
        threads=torch.get_num_threads(),
        capability=torch.backends.cpu.get_cpu_capability(),
        onednn=torch.backends.mkldnn.is_available(),
        cuda=torch.version.cuda,
        gpus=tuple(Gpu(device.name, device.total_memory) for device in devices),
        device=str(auto),
        dtype=str(choose_dtype(None, auto)).removeprefix("torch."),
    )


def _caches() -> dict[str, str]:
    """By the rule that the hub's documentation states: importing `datasets` takes a second."""
    default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "huggingface"
    home = Path(os.environ.get("HF_HOME") or default).expanduser()
    return {
        "HF_HOME": str(home),
        "HF_HUB_CACHE": os.environ.get("HF_HUB_CACHE") or str(home / "hub"),
        "HF_DATASETS_CACHE": os.environ.get("HF_DATASETS_CACHE") or str(home / "datasets"),
    }
