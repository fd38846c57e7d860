"""Which machine and which versions made the figures of a run."""

import os
import platform
import time
from collections.abc import Sequence
from typing import Any

from aspd_cli.environment import cpu_name, installed
from aspd_cli.evaluate.processes import Processes
from aspd_cli.evaluate.systems import Runner


def machine(
    runners: Sequence[Runner], began: float, seconds: float, processes: Processes
) -> dict[str, Any]:
    """Versions, device, cores, when it began and how many seconds it took."""
    import torch

    device = next((runner.device for runner in runners if runner.device is not None), None)
    on_gpu = device is not None and device.type == "cuda"
    names = ("aspd", "torch", "transformers", "lm_eval")
    return {
        **{name: installed(name) for name in names},
        "python": platform.python_version(),
        "device": torch.cuda.get_device_name(device) if on_gpu else cpu_name(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "processes": processes.number,
        "began": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(began)),
        "seconds": round(seconds, 1),
    }
