"""A script: what the lanes of an answer write, in place of what the model would choose.

The model runs all the same, so a scripted decode costs what a real one of that structure costs.
"""

from collections import deque
from collections.abc import Sequence

from aspd_cli.core.codec import Codec
from aspd_cli.core.layout import TokenBlock, TokenTree

Path = tuple[tuple[int, int], ...]
"""Of a lane: (number of the block in its lane, number of the branch) from the main lane down."""


class Script:
    """The sampled tokens of one answer, lane by lane; good for one decode."""

    def __init__(self, tree: TokenTree, codec: Codec, end: int) -> None:
        """`end`: the id that ends the answer."""
        self._codec = codec
        self._lanes: dict[Path, deque[int]] = {}
        self._write((), tree, end)

    def next(self, path: Path) -> int:
        """The token that the lane at `path` writes next."""
        return self._lanes[path].popleft()

    def _write(self, path: Path, tree: TokenTree, end: int) -> None:
        tokens = self._lanes[path] = deque[int]()
        blocks = 0
        for part in tree:
            if not isinstance(part, TokenBlock):
                tokens.extend(part)
                continue
            tokens.extend(self._announced(part.titles))
            for number, branch in enumerate(part.branches):
                branch_path = (*path, (blocks, number))
                self._write(branch_path, branch.content, self._codec.control.branch_end)
            blocks += 1
        tokens.append(end)

    def _announced(self, titles: Sequence[Sequence[int]]) -> list[int]:
        control = self._codec.control
        spelled = [(control.title, *title, control.title_end) for title in titles]
        return [*(token for title in spelled for token in title), control.para]
