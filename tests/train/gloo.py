"""Runs `aspd` with what accelerate keeps for accelerators, FSDP above all, on the CPU with gloo.

    ACCELERATE_TORCH_DEVICE=cpu torchrun --nproc_per_node 2 tests/train/gloo.py train recipe.yaml

accelerate shards a model only where processes run on several accelerators. Sharding itself is
torch's and works on any device, so this says that the processes are of that kind, and no more.
"""

from typing import Any

from accelerate.state import PartialState
from accelerate.utils import DistributedType

from aspd_cli.cli.main import main


def _as_accelerators(self: PartialState, *args: Any, **kwargs: Any) -> tuple[str, DistributedType]:
    return "gloo", DistributedType.MULTI_GPU


if __name__ == "__main__":
    PartialState._prepare_backend = _as_accelerators
    main()
