"""The connector's slot copies, on tensors of the layouts that vLLM documents."""

import pytest
import torch

pytest.importorskip("vllm", reason="needs vLLM, see .ci/vllm")
pytestmark = pytest.mark.vllm

LAYOUTS = {
    "LBHNC": (0, 1, 2, 3),
    "LBNHC": (0, 2, 1, 3),
    "LHBNC": (1, 0, 2, 3),
}
"""Of a layer: how (blocks, heads, slots, content) lie in memory."""
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_slots_are_copied_whatever_the_layout(layout, device):
    from aspd_cli.vllm.connector import copy_slots

    shape, order = (6, 3, 16, 8), LAYOUTS[layout]
    memory = torch.randn([shape[at] for at in order], device=device)
    cache = memory.permute([order.index(at) for at in range(4)])
    before = cache.clone()
    slots = torch.tensor([[0, 17, 33, 95], [50, 49, 64, 2]], device=device)
    copy_slots(cache, slots)
    expected = before.clone()
    for source, target in slots.T.tolist():
        expected[target // 16, :, target % 16] = before[source // 16, :, source % 16]
    assert torch.equal(cache, expected)


@pytest.mark.parametrize(
    ("pairs", "blocks"),
    [
        ([(0, 32, 64)], 4),  # a run of whole blocks: first source, first target, slots
        ([(0, 32, 70), (200, 102, 3)], 4),
        ([(16, 64, 8), (24, 72, 8)], 1),  # two runs that meet inside of a block
        ([(0, 33, 64), (5, 100, 40)], 0),  # another place in its block
        ([(16, 64, 15), (40, 80, 1)], 0),
        ([(0, 32, 1)], 0),
    ],
)
def test_whole_blocks_are_told_from_slots(pairs, blocks):
    from aspd_cli.vllm.connector import split_blocks

    told = [
        [at + i for at, _, n in pairs for i in range(n)],
        [to + i for _, to, n in pairs for i in range(n)],
    ]
    whole, slots = split_blocks(torch.tensor(told), 16)
    assert whole.shape == (2, blocks)
    inside = (whole[..., None] * 16 + torch.arange(16)).flatten(1)
    found = torch.cat([inside, slots], dim=1).T.tolist()
    assert sorted(map(tuple, found)) == sorted(zip(*told, strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_packed_slots_of_a_cpu_are_copied_whole(dtype):
    from vllm import _custom_ops as ops
    from vllm.v1.attention.backends.cpu_attn import _get_attn_isa

    from aspd_cli.vllm.connector import _places, copy_elements, packed_elements

    blocks, heads, size, width = 4, 2, 32, 32
    isa = _get_attn_isa(dtype, size, width)
    key, value = (torch.randn(blocks * size, heads, width).to(dtype) for _ in range(2))

    def written(at):
        cache = torch.zeros(blocks, heads, size, 2 * width, dtype=dtype)
        keys, values = cache.view(blocks, heads, size * 2, width).chunk(2, dim=2)
        ops.cpu_attn_reshape_and_cache(key[at], value[at], keys, values, torch.arange(len(at)), isa)
        return cache

    slots = torch.tensor([[0, 17, 33, 95], [50, 49, 64, 2]])
    cache, order = written(torch.arange(blocks * size)), torch.arange(blocks * size)
    copy_elements(cache, packed_elements(cache.shape, slots, _places(cache)))
    order[slots[1]] = slots[0]
    assert torch.equal(cache, written(order))
