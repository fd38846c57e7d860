"""A KV connector for stock vLLM: keeps keys and values, and uses them in place of a recomputation.

One file that imports nothing of aspd, so that it can lie in vLLM's own environment:

    --kv-transfer-config '{"kv_connector": "AspdConnector", "kv_role": "kv_both",
                           "kv_connector_module_path": "aspd_connector"}'

What a request wants stands in its `kv_transfer_params`, under "aspd":

- `answer`, `name`: whose request it is, and under which name its keys and values are kept
- `uses`: [[name, start, length], ...] kept before, in place of the first tokens of its prompt
- `keeps`: true, or ids of tokens; keep at the end: always, or if it stopped at one of them
- `frees`: names that are let go once this one is kept
- `ends`: ids of tokens; if it stopped at one of them, all of the answer is let go
- `release`: all of the answer is let go at once

Each finished request tells `{"aspd": {"kept": tokens, "stitched": tokens}}`. A request whose source
is gone fails: vLLM never computes it from tokens alone, which would be another text.

Shapes: P blocks of the pool, H heads, N slots of a block, C elements of a slot, S slots to copy.
"""

import logging
import time
from collections import Counter
from dataclasses import dataclass, field

import torch
import vllm
from vllm.distributed.kv_transfer.kv_connector.v1.base import (
    KVConnectorBase_V1,
    KVConnectorMetadata,
    KVConnectorRole,
)
from vllm.v1.kv_cache_interface import FullAttentionSpec, MLAAttentionSpec

TESTED = ("0.32",)
"""Minor releases of vLLM that passed aspd's tests; the interface of connectors is experimental."""

IDLE_S = 60.0
"""Seconds after the last request of an answer, begun or ended, until what it keeps is let go."""

SHARE = 0.5
"""Most of the pool that may be kept, unless a single answer needs more."""

logger = logging.getLogger("vllm.aspd")


def refusal(config, kv_cache_config=None):
    """Why this vLLM cannot decode as aspd does, in one sentence; None where it can."""
    if not vllm.__version__.startswith(tuple(f"{minor}." for minor in TESTED)):
        return (
            f"vLLM {vllm.__version__} was not tested with aspd, only {', '.join(TESTED)}: "
            "install that"
        )
    model, parallel = config.model_config, config.parallel_config
    groups = kv_cache_config.kv_cache_groups if kv_cache_config else ()
    specs = [group.kv_cache_spec for group in groups]
    reasons = {
        "the model has sliding-window layers": _windows(model),
        "the model has layers without a key-value cache of its own (a hybrid)": model.is_hybrid,
        "the model has latent attention (MLA)": model.use_mla
        or any(isinstance(spec, MLAAttentionSpec) for spec in specs),
        "the key-value cache has several groups": len(groups) > 1,
        "the model has attention of a kind that was not tested": any(
            not isinstance(spec, FullAttentionSpec) for spec in specs
        ),
        "the key-value cache is quantised": config.cache_config.cache_dtype
        not in ("auto", "float32", "float16", "bfloat16"),
        "the model is spread over a pipeline": parallel.pipeline_parallel_size > 1,
        "the context is spread over devices": max(
            parallel.decode_context_parallel_size, parallel.prefill_context_parallel_size
        )
        > 1,
        "there are several replicas (data parallelism), and an answer must stay on one": (
            parallel.data_parallel_size > 1
        ),
        "speculative decoding is on": config.speculative_config is not None,
    }
    found = [reason for reason, holds in reasons.items() if holds]
    return f"aspd cannot decode on this vLLM: {'; '.join(found)}" if found else None


def _windows(model):
    text = model.hf_text_config
    if "sliding_attention" in (getattr(text, "layer_types", None) or ()):
        return True
    return bool(model.get_sliding_window())


@dataclass
class Copies(KVConnectorMetadata):
    """What a worker does before a step. A slot is block * N + its place in the block."""

    sources: list[int] = field(default_factory=list)
    targets: list[int] = field(default_factory=list)
    failed: set[int] = field(default_factory=set)
    """Blocks whose tokens have lost their source."""


@dataclass
class Kept:
    """Keys and values of the first `tokens` tokens of a finished request."""

    blocks: list
    tokens: int


@dataclass
class Held:
    """What one answer keeps."""

    kept: dict[str, Kept] = field(default_factory=dict)
    open: int = 0
    """Requests that have begun and not ended."""
    at: float = 0.0
    """When the last one began or ended."""


class AspdConnector(KVConnectorBase_V1):
    """vLLM makes one in the scheduler and one in each worker; see the module."""

    requires_kv_delivery = False

    def __init__(self, vllm_config, role, kv_cache_config):
        if reason := refusal(vllm_config, kv_cache_config):
            raise ValueError(reason)
        super().__init__(vllm_config, role, kv_cache_config)
        extra = vllm_config.kv_transfer_config.kv_connector_extra_config or {}
        self._idle_s = float(extra.get("idle_s", IDLE_S))
        self._most = int(float(extra.get("share", SHARE)) * kv_cache_config.num_blocks)
        self._size = vllm_config.cache_config.block_size  # N
        self._answers: dict[str, Held] = {}  # the oldest first
        self._references: Counter[int] = Counter()
        self._next, self._asked, self._lost = Copies(), False, set()
        self._stitched: dict[str, int] = {}
        self._looked = 0.0
        if role is KVConnectorRole.WORKER:
            self._failed: set[int] = set()

    # In the scheduler.

    def bind_gpu_block_pool(self, gpu_block_pool):
        self._pool = gpu_block_pool

    def on_new_request(self, request):
        wanted = _wanted(request)
        if wanted is None:
            return
        if wanted.get("release"):
            self._drop(wanted["answer"])
            return
        held = self._answers.setdefault(wanted["answer"], Held())
        held.open += 1
        held.at = time.monotonic()

    def get_num_new_matched_tokens(self, request, num_computed_tokens):
        self._asked = True
        wanted = _wanted(request)
        missing = max(0, _covered(request, wanted) - num_computed_tokens)
        self._lost.discard(request.request_id)
        if missing and not self._has(wanted):
            self._lost.add(request.request_id)
        return missing, False

    def update_state_after_alloc(self, request, blocks, num_external_tokens):
        if not num_external_tokens:
            return
        wanted, end = _wanted(request), _covered(request, _wanted(request))
        mine = blocks.get_block_ids()[0]
        begin = end - num_external_tokens
        if request.request_id in self._lost:
            self._next.failed.update(mine[begin // self._size : -(-end // self._size)])
            return
        self._stitched[request.request_id] = num_external_tokens
        held, at = self._answers[wanted["answer"]], 0
        for name, start, length in wanted["uses"]:
            span = range(max(at, begin), min(at + length, end))
            self._next.sources += self._slots(
                [block.block_id for block in held.kept[name].blocks],
                range(start + span.start - at, start + span.stop - at),
            )
            self._next.targets += self._slots(mine, span)
            at += length

    def build_connector_meta(self, scheduler_output):
        if self._asked and not scheduler_output.total_num_scheduled_tokens:
            self._drop_youngest()  # nobody can run: what is kept fills the pool
        self._asked = False
        self._expire()
        copies, self._next = self._next, Copies()
        return copies

    def request_finished(self, request, block_ids):
        wanted = _wanted(request)
        if wanted is None or wanted.get("release"):
            return False, None
        key, kept = wanted["answer"], 0
        held = self._answers.setdefault(key, Held())
        held.open -= 1
        held.at = time.monotonic()
        ended = request.get_finished_reason().name in ("STOP", "LENGTH")
        if ended and request.stop_reason in wanted.get("ends", ()):
            self._drop(key)
        elif ended and _keeps(wanted, request):
            # The last token was sampled and never fed: it has no keys and values.
            kept = min(request.num_computed_tokens, request.num_tokens - 1)
            self._keep(held, wanted.get("name", ""), block_ids[: -(-kept // self._size)], kept)
            for name in wanted.get("frees", ()):
                self._let_go(held, name)
            kept = kept if self._make_room(key) else 0
        if held.open <= 0 and not held.kept:
            self._answers.pop(key, None)
        stitched = self._stitched.pop(request.request_id, 0)
        self._lost.discard(request.request_id)
        return False, {"aspd": {"kept": kept, "stitched": stitched}}

    def _has(self, wanted):
        held = self._answers.get(wanted["answer"], Held())
        return all(
            name in held.kept and start + length <= held.kept[name].tokens
            for name, start, length in wanted["uses"]
        )

    def _slots(self, blocks, tokens):
        return [blocks[at // self._size] * self._size + at % self._size for at in tokens]

    def _keep(self, held, name, block_ids, tokens):
        blocks = [self._pool.blocks[block] for block in block_ids]
        self._pool.touch(blocks)
        self._let_go(held, name)
        held.kept[name] = Kept(blocks, tokens)
        self._references.update(block_ids)

    def _let_go(self, held, name):
        kept = held.kept.pop(name, None)
        if kept is None:
            return
        for block in kept.blocks:
            self._references[block.block_id] -= 1
            if not self._references[block.block_id]:
                del self._references[block.block_id]
        self._pool.free_blocks(reversed(kept.blocks))

    def _drop(self, key):
        held = self._answers.pop(key, Held())
        for name in list(held.kept):
            self._let_go(held, name)

    def _drop_youngest(self):
        if holding := [key for key, held in self._answers.items() if held.kept]:
            self._drop(holding[-1])

    def _make_room(self, key):
        """Keeps to the bound; False where this cost the answer itself what it keeps."""
        while len(self._references) > self._most:
            holding = [each for each, held in self._answers.items() if held.kept]
            if len(holding) < 2:
                break
            self._drop(holding[-1])
        return key in self._answers

    def _expire(self):
        now = time.monotonic()
        if now - self._looked < 1:
            return
        self._looked = now
        for key, held in list(self._answers.items()):
            if held.open <= 0 and now - held.at > self._idle_s:
                self._drop(key)

    # In a worker.

    def register_kv_caches(self, kv_caches):
        self._caches = list(kv_caches.values())
        self._places = None

    def start_load_kv(self, forward_context, **kwargs):
        copies = self._get_connector_metadata()
        self._failed |= copies.failed
        if not copies.sources:
            return
        first = self._caches[0]
        slots = torch.tensor([copies.sources, copies.targets])  # (2, S)
        blocks, slots = (part.to(first.device) for part in split_blocks(slots, first.shape[2]))
        elements = None
        if first.device.type == "cpu":
            if self._places is None:
                self._places = _places(first)
            elements = packed_elements(first.shape, slots, self._places)
        for cache in self._caches:
            cache[blocks[1]] = cache[blocks[0]]
            if elements is None:
                copy_slots(cache, slots)
            else:
                copy_elements(cache, elements)

    def get_block_ids_with_load_errors(self):
        failed, self._failed = self._failed, set()
        return failed

    def wait_for_layer_load(self, layer_name):
        pass

    def save_kv_layer(self, layer_name, kv_layer, attn_metadata, **kwargs):
        pass

    def wait_for_save(self):
        pass


def split_blocks(slots, size):
    """What is copied by whole blocks, which need not be looked into, and what is not.

    Args:
        slots: (2, S) sources and targets.

    Returns:
        (2, B) blocks and (2, S') slots.
    """
    count = slots.shape[1]
    goes_on = (slots.diff(dim=1) == 1).all(0).long().cumsum(0)  # (S - 1)
    goes_on = torch.cat([goes_on.new_zeros(1), goes_on])
    last = torch.arange(count) + size - 1
    whole = (slots % size == 0).all(0) & (last < count)
    whole &= goes_on[last.clamp(max=count - 1)] - goes_on == size - 1
    rest = torch.ones(count, dtype=torch.bool)
    rest[whole.nonzero() + torch.arange(size)] = False
    return slots[:, whole] // size, slots[:, rest]


def copy_slots(cache, slots):
    """Copies slots of a layer.

    Args:
        cache: (P, H, N, C), whatever order its strides give it in memory.
        slots: (2, S) sources and targets.
    """
    size = cache.shape[2]
    (source, target), (at, to) = slots // size, slots % size
    cache[target, :, to] = cache[source, :, at]


def packed_elements(shape, slots, places):
    """(2, S * H * C) the elements of slots in a cache of the CPU, whose kernels pack the inside of
    a block.

    Args:
        shape: of the cache, (P, H, N, C).
        slots: (2, S) sources and targets.
        places: (N, C) where in one head of a block the elements of each slot lie.
    """
    _, heads, size, content = shape
    head = (slots // size)[..., None] * heads + torch.arange(heads)  # (2, S, H)
    return (head[..., None] * (size * content) + places[slots % size][:, :, None]).flatten(1)


def copy_elements(cache, elements):
    """Copies elements of a layer's cache, (P, H, N, C), seen as one list."""
    flat = cache.view(-1)
    flat.index_copy_(0, elements[1], flat.index_select(0, elements[0]))


def _places(cache):
    """(N, C): asks the kernel that writes the cache, by having it write numbers that tell."""
    from vllm import _custom_ops as ops
    from vllm.v1.attention.backends.cpu_attn import _get_attn_isa

    _, heads, size, content = cache.shape
    width = content // 2
    isa, slots = _get_attn_isa(cache.dtype, size, width), torch.arange(size)

    def written(numbers):  # (N, C) -> (N * C) as they lie in memory
        block = torch.zeros(1, heads, size, content, dtype=cache.dtype)
        keys, values = block.view(1, heads, size * 2, width).chunk(2, dim=2)
        each = numbers.to(cache.dtype)[:, None, :].expand(size, heads, content)
        key, value = (part.contiguous() for part in each.split(width, dim=-1))
        ops.cpu_attn_reshape_and_cache(key, value, keys, values, slots, isa)
        return block[0, 0].flatten()

    # bfloat16 counts to 256 exactly, so a number is written in two digits.
    slot, element = torch.arange(size)[:, None], torch.arange(content)[None, :]
    digits = [slot // 128, slot % 128, element // 128, element % 128]
    read = [written(each.expand(size, content)).long() for each in digits]
    order = (read[0] * 128 + read[1]) * content + read[2] * 128 + read[3]
    places = torch.empty(size * content, dtype=torch.long)
    places[order] = torch.arange(size * content)
    if not torch.equal(order.sort().values, torch.arange(size * content)):
        raise RuntimeError("the key-value cache of this CPU has a layout that aspd does not know")
    return places.view(size, content)


def _wanted(request):
    """What a request wants of the connector; None where it wants nothing, or in another form."""
    wanted = (request.kv_transfer_params or {}).get("aspd")
    if not isinstance(wanted, dict) or not isinstance(wanted.get("answer"), str):
        return None
    uses = wanted.get("uses") or ()
    counts = [number for _, *numbers in uses for number in numbers]
    if any(len(use) != 3 for use in uses) or not all(isinstance(n, int) and n >= 0 for n in counts):
        return None
    return wanted


def _covered(request, wanted):
    """Tokens of the prompt that have a source; the last one is always computed."""
    uses = (wanted or {}).get("uses") or ()
    return min(sum(length for _, _, length in uses), request.num_tokens - 1)


def _keeps(wanted, request):
    keeps = wanted.get("keeps", False)
    return keeps is True or (bool(keeps) and request.stop_reason in keeps)
