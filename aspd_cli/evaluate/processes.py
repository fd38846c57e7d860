"""Several processes at the same work: `torchrun` or `accelerate launch` start them.

Accelerate does the rest; here is only what the commands ask of it.
"""

import os
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, TypeVar

T = TypeVar("T")


class Processes:
    """The processes of this run; one when nothing launched several."""

    @cached_property
    def _state(self) -> Any:
        import torch
        from accelerate import PartialState

        return PartialState(cpu=not torch.cuda.is_available())

    @cached_property
    def number(self) -> int:
        """How many there are."""
        if int(os.environ.get("WORLD_SIZE", "1")) == 1:
            return 1
        return int(self._state.num_processes)

    @cached_property
    def index(self) -> int:
        """Which one this is, from 0."""
        return int(self._state.process_index) if self.number > 1 else 0

    @property
    def is_first(self) -> bool:
        return self.index == 0

    def device(self, wanted: str | None) -> str | None:
        """The device of this process: `wanted`, or a GPU of its own where there are several."""
        if self.number == 1 or wanted is not None:
            return wanted
        return str(self._state.device)

    def share(self, items: Sequence[T]) -> list[T]:
        """This process's items: every `number`th one."""
        return list(items[self.index :: self.number])

    def gather(self, items: Sequence[T]) -> list[T]:
        """The items of all processes: the inverse of `share` when every one brings its own."""
        if self.number == 1:
            return list(items)
        from accelerate.utils import gather_object

        shares: list[list[T]] = gather_object([list(items)])
        longest = max(map(len, shares))
        return [share[at] for at in range(longest) for share in shares if at < len(share)]

    def wait(self) -> None:
        """Until all processes are here."""
        if self.number > 1:
            self._state.wait_for_everyone()

    def agree(self, work: Callable[[], T]) -> T:
        """What `work` returns to the first process, which alone does it; for all of them."""
        if self.number == 1:
            return work()
        from accelerate.utils import broadcast_object_list

        held: list[Any] = [work() if self.is_first else None]
        broadcast_object_list(held)
        found: T = held[0]
        return found
