"""The most memory that something took."""

import os
from typing import Any


class PeakMemory:
    """Most bytes held between `start` and `stop`: the GPU's allocator, or else the process."""

    def __init__(self, device: Any) -> None:
        self.cuda = device if device.type == "cuda" else None

    def start(self) -> None:
        if self.cuda is not None:
            import torch

            torch.cuda.reset_peak_memory_stats(self.cuda)
            return
        try:  # Linux: makes the high-water mark of the process begin anew
            with open("/proc/self/clear_refs", "w") as file:
                file.write("5")
        except OSError:
            pass

    def stop(self) -> int:
        if self.cuda is not None:
            import torch

            return int(torch.cuda.max_memory_allocated(self.cuda))
        try:
            with open("/proc/self/status") as file:
                line = next(line for line in file if line.startswith("VmHWM"))
            return int(line.split()[1]) * 1024
        except (OSError, StopIteration):
            import resource

            unit = 1 if os.uname().sysname == "Darwin" else 1024
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
