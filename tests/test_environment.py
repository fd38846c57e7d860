"""What is gathered for a bug report, and that it is gathered where things are missing or broken."""

import builtins
import os
import platform
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from aspd_cli import environment as gathering
from aspd_cli.environment import LIBRARIES, Gpu, Library, cpu_flags, cpu_name, describe, environment
from aspd_cli.errors import ModelError


def library(name: str) -> Library:
    return next(each for each in environment().libraries if each.name == name)


def bounds_of(monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    monkeypatch.setattr(metadata, "requires", lambda name: list(lines))


def version_of(monkeypatch: pytest.MonkeyPatch, name: str, version: str) -> None:
    real = metadata.version
    monkeypatch.setattr(metadata, "version", lambda n: version if n == name else real(n))


def test_libraries_are_told_with_the_bounds_of_our_metadata() -> None:
    found = environment().libraries
    assert tuple(each.name for each in found) == LIBRARIES
    declared = " ".join(metadata.requires("aspd") or ())
    for each in found:
        assert each.version == metadata.version(each.name)
        assert all(bound in declared for bound in each.bounds.split(","))
        assert each.bounds.startswith(">=")


@pytest.mark.parametrize(
    ("version", "fits"),
    [("2.10.0", True), ("2.11.1+cpu", True), ("2.8.1", False), ("2.14.0", False), ("3.0", False)],
)
def test_a_version_outside_of_its_bounds_is_marked(
    version: str, fits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    bounds_of(monkeypatch, "torch<2.14,>=2.9")
    version_of(monkeypatch, "torch", version)
    assert library("torch") == Library("torch", version, ">=2.9,<2.14", fits)


def test_what_is_asked_for_by_an_extra_only_is_no_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    bounds_of(monkeypatch, 'torch<1; extra == "dev"', "numpy>=2", 'typer<1; python_version<"3"')
    assert library("torch").bounds == library("typer").bounds == ""
    assert library("torch").fits
    assert library("numpy").bounds == ">=2"


def missing(name: str) -> Any:
    raise metadata.PackageNotFoundError(name)


def test_a_missing_library_has_no_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "version", missing)
    assert {(each.version, each.fits) for each in environment().libraries} == {(None, False)}


def test_without_metadata_of_our_own_there_are_no_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "requires", missing)
    assert {(each.bounds, each.fits) for each in environment().libraries} == {("", True)}


def test_torch_tells_what_it_computes_with() -> None:
    seen = environment().torch
    assert seen is not None
    assert seen.threads == torch.get_num_threads()
    assert seen.capability == torch.backends.cpu.get_cpu_capability()
    assert len(seen.gpus) == torch.cuda.device_count()
    if not seen.gpus:
        assert (seen.device, seen.dtype) == ("cpu", "float32")


def test_cuda_devices_are_told_with_their_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    device = SimpleNamespace(name="Tesla T4", total_memory=15 * 2**30)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: device)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    seen = environment().torch
    assert seen is not None
    assert seen.gpus == (Gpu("Tesla T4", 15 * 2**30),) * 2
    assert (seen.device, seen.dtype) == ("cuda", "bfloat16")


def test_a_torch_that_cannot_be_imported_leaves_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def broken(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "torch":
            raise OSError("libcudart.so.13: cannot open shared object file")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", broken)
    here = environment()
    assert here.torch is None
    assert here.problem == "OSError: libcudart.so.13: cannot open shared object file"
    assert here.cpu.cores == os.cpu_count()


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"flags": "fpu sse2 avx2 avx512f amx_bf16 amx_tile"}, "avx2 avx512f amx_tile amx_bf16"),
        ({"Features": "fp asimd sve i8mm bf16"}, "asimd sve bf16 i8mm"),
        ({"machdep.cpu.features": "FPU SSE2", "machdep.cpu.leaf7_features": "AVX2 BMI2"}, "avx2"),
        (
            {"hw.optional.arm.FEAT_BF16": "1", "hw.optional.arm.FEAT_I8MM": "0"},
            "bf16",
        ),
        ({"flags": "fpu"}, ""),
    ],
    ids=["x86", "arm", "old mac", "new mac", "none of them"],
)
def test_instructions_are_read_as_each_system_tells_them(
    facts: dict[str, str], expected: str
) -> None:
    assert cpu_flags(facts) == tuple(expected.split())


def test_a_system_that_tells_nothing_of_its_processor(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(gathering, "_CPUINFO", tmp_path / "none")
    monkeypatch.setattr(gathering, "_said", lambda *command: "")
    cpu = environment().cpu
    assert cpu.name == (platform.processor() or platform.machine())
    assert cpu.flags is None


def test_macos_is_asked_where_there_is_no_proc(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(gathering, "_CPUINFO", tmp_path / "none")
    said = "machdep.cpu.brand_string: Apple M4\nhw.optional.floatingpoint: 1\n"
    monkeypatch.setattr(gathering, "_said", lambda *command: said)
    assert cpu_name() == "Apple M4"


def test_the_driver_is_what_nvidia_smi_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert environment().driver is None
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 580.65.06\necho 580.65.06\n")
    program.chmod(0o755)
    assert environment().driver == "580.65.06"
    program.write_text("#!/bin/sh\necho NVIDIA-SMI has failed\nexit 9\n")
    assert environment().driver is None


def test_caches_are_where_the_libraries_have_them() -> None:
    import datasets
    from huggingface_hub import constants

    caches = environment().caches
    assert Path(caches["HF_HOME"]) == Path(constants.HF_HOME)
    assert Path(caches["HF_HUB_CACHE"]) == Path(constants.HF_HUB_CACHE)
    if "HF_DATASETS_CACHE" not in os.environ:  # the folder in use may be one of a test's own
        assert caches["HF_DATASETS_CACHE"] == datasets.config.DEFAULT_HF_DATASETS_CACHE


def test_caches_follow_their_variables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("HF_HUB_CACHE", "HF_DATASETS_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    assert environment().caches["HF_DATASETS_CACHE"] == str(tmp_path / "datasets")
    monkeypatch.setenv("HF_HUB_CACHE", "/elsewhere")
    assert environment().caches["HF_HUB_CACHE"] == "/elsewhere"


def test_variables_are_told_set_or_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "passive")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.delenv("OMP_NUM_THREADS")
    told = environment().variables
    assert told["OMP_WAIT_POLICY"] == "passive"
    assert told["CUDA_VISIBLE_DEVICES"] == ""
    assert told["OMP_NUM_THREADS"] is None


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (ModelError("there is none"), "there is none"),
        (RuntimeError("out of memory"), "RuntimeError: out of memory"),
    ],
)
def test_a_model_that_cannot_be_loaded_says_why(error: Exception, sentence: str) -> None:
    def load() -> Any:
        raise error

    model = describe("some", load)
    assert model.problem == sentence
    assert model.kernels is None


def test_a_model_is_told_with_its_kernels() -> None:
    weights = SimpleNamespace(dtype=torch.bfloat16)
    decoder = SimpleNamespace(
        device=torch.device("cpu"), model=weights, kernels="stock", runner="model"
    )
    model = describe("some", lambda: decoder)
    assert (model.device, model.dtype) == ("cpu", "bfloat16")
    assert (model.kernels, model.steps) == ("stock", "model")
    assert model.problem is None
