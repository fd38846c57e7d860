"""Budgets close what is open: never a token too many, and a well-formed document."""

import pytest

from aspd_cli.core.markup import plain, render
from aspd_cli.core.parser import parse
from aspd_cli.engine.decoder import Decoder
from aspd_cli.engine.events import Text
from aspd_cli.engine.lane import Lane
from aspd_cli.errors import ModelError
from tests.engine.families import make_models_fork, tiny_model
from tests.engine.scripted import fork, lane_texts, scripted, scripted_events, shown_texts


@pytest.fixture
def wide(decoder):
    """Four branches, one of which forks while the others still write, then serial text."""
    codec = decoder.codec
    branches = {((0, i),): codec.encode("x") * 9 for i in range(1, 4)}
    return {
        (): [*fork(codec, *"ABCD"), *codec.encode("x")],
        ((0, 0),): fork(codec, "E", "F"),
        ((0, 0), (0, 0)): codec.encode("y"),
        ((0, 0), (0, 1)): codec.encode("xx"),
        **branches,
    }


@pytest.mark.parametrize("mode", ["parallel", "serial"])
def test_max_new_tokens_holds_for_every_number(mode, decoder, wide):
    full = scripted(decoder, wide, mode=mode, max_depth=2)
    assert full.finish_reason == "stop"
    assert full.stats.blocks == 2
    used = []
    assert full.stats.tokens + full.stats.max_lanes <= 90
    for budget in range(1, 91):
        out = scripted(decoder, wide, mode=mode, max_depth=2, strict=False, max_new_tokens=budget)
        assert out.stats.tokens == len(out.token_ids) <= budget
        assert parse(out.markup) == out.document
        assert out.text == plain(out.document)
        ended = bool(out.token_ids) and out.token_ids[-1] in decoder.ends
        assert out.finish_reason == ("stop" if ended else "length")
        # What just fits may still be cut: every lane could have gone on where it ended.
        if budget >= full.stats.tokens + full.stats.max_lanes:
            assert out.token_ids == full.token_ids
        used.append(out.stats.tokens / budget)
        if not out.stats.branches:
            serial = out.stats.steps + out.stats.accepted_tokens
            assert out.stats.decoded == serial, "even where a list of titles was dropped"
        if mode == "parallel":
            assert 1 <= out.stats.ideal_speedup <= out.stats.max_lanes * 5
    assert sum(used) / len(used) > 0.5, "and a budget is used"


def test_max_new_tokens_holds_whatever_the_model_does(decoder, monkeypatch):
    make_models_fork(monkeypatch)
    options = {"temperature": 1.5, "max_depth": 3, "max_branches": 6, "max_title_tokens": 3}
    for budget in range(1, 91):
        prompts = ["Hi", "Who?"]
        for out in decoder.generate(prompts, max_new_tokens=budget, seed=budget, **options):
            assert out.stats.tokens <= budget
            assert parse(out.markup) == out.document
            ended = bool(out.token_ids) and out.token_ids[-1] in decoder.ends
            assert out.finish_reason == ("stop" if ended else "length")


@pytest.mark.parametrize("mode", ["parallel", "serial"])
def test_max_branch_tokens_closes_exactly_the_branches_that_reach_it(mode, decoder):
    codec = decoder.codec
    texts = ["xy", "xyxyxyxyxy", "xyxy", "yxyxyxyx"]
    script = {(): [*codec.encode("so "), *fork(codec, *"ABCD"), *codec.encode("and so on")]}
    script |= {((0, i),): codec.encode(text) for i, text in enumerate(texts)}
    limit = len(codec.encode("xyxyx"))
    out = scripted(decoder, script, mode=mode, max_branch_tokens=limit)
    [block] = out.document.blocks()
    assert [plain(branch.content) for branch in block.branches] == ["xy", "xyxyx", "xyxy", "yxyxy"]
    assert out.finish_reason == "length"
    assert out.text.endswith("and so on"), "the serial text has no such limit"
    roomy = scripted(decoder, script, mode=mode, max_branch_tokens=100)
    assert roomy.finish_reason == "stop"
    assert [plain(b.content) for block in roomy.document.blocks() for b in block.branches] == texts


def test_a_branch_that_forks_pays_only_its_own_text(decoder):
    codec = decoder.codec
    script = {
        (): fork(codec, "A", "B"),
        ((0, 0),): [*codec.encode("xy"), *fork(codec, "C", "D"), *codec.encode("x")],
        ((0, 1),): codec.encode("y"),
        ((0, 0), (0, 0)): codec.encode("xyx"),
        ((0, 0), (0, 1)): codec.encode("yxy"),
    }
    limit = len(codec.encode("xyxy"))
    out = scripted(decoder, script, max_depth=2, max_branch_tokens=limit)
    assert out.text == "xyxyxyxyxy"
    assert out.finish_reason == "stop"


@pytest.fixture
def listed(decoder):
    """A list in a form, whose items end in a newline; one of them is long."""
    codec = decoder.codec
    items = {((0, i),): codec.encode(text) for i, text in enumerate([" x\n", " y x\n", " y\n"])}
    items[((0, 1),)] = codec.encode(" y x" * 8 + "\n")
    return {(): [*codec.encode("so:\n"), *fork(codec, "- A", "B", "C")], **items}


@pytest.fixture
def nested(decoder):
    """A list whose first item holds a list, and whose second one a block without a form."""
    codec = decoder.codec
    script = {
        (): [*fork(codec, "- A", "B", "C"), *codec.encode("so")],
        ((0, 0),): [*codec.encode(":\n"), *fork(codec, "* D", "E")],
        ((0, 1),): [*codec.encode(" "), *fork(codec, "F", "G"), *codec.encode("\n")],
        ((0, 2),): codec.encode(" x\n"),
    }
    inner = {((0, i), (0, j)): " x y" * (2 + i + j) for i in range(2) for j in range(2)}
    ends = {0: "\n", 1: " "}
    return script | {path: codec.encode(text + ends[path[0][1]]) for path, text in inner.items()}


def checked(events, stop=()):
    """The output of a stream that showed what it ended with."""
    *_, done = events
    out = done.output
    assert parse(out.markup) == out.document
    assert render(parse(out.markup)) == out.markup
    assert out.text == plain(out.document)
    if stop:
        assert "".join(e.text for e in events if isinstance(e, Text)) == out.text
    else:
        assert shown_texts(events) == lane_texts(out.document)
    return out


@pytest.mark.parametrize("stop", [(), ("zzz", "\n\n\n")])
@pytest.mark.parametrize("mode", ["parallel", "serial"])
@pytest.mark.parametrize("name", ["listed", "nested"])
def test_items_that_max_new_tokens_cuts_end_as_their_neighbours(
    name, mode, stop, decoder, monkeypatch, request
):
    script = request.getfixturevalue(name)
    options = {"mode": mode, "max_depth": 2, "stop": stop, "strict": False}
    full = scripted(decoder, script, **options)
    assert full.finish_reason == "stop"
    assert full.cut_by is None
    cut = bare = 0
    for budget in range(20, full.stats.tokens + 10, 3):
        options["max_new_tokens"] = budget
        out = checked(list(scripted_events(decoder, script, **options)), stop)
        if "DE" in out.text or "FG" in out.text:
            continue  # no budget for an inner block: the script wrote its titles as text
        for block in out.document.blocks():
            if block.form:
                assert all(text.endswith("\n") for text in block.texts), (budget, block.texts)
                assert not any(text.endswith("\n\n") for text in block.texts)
                leads = zip(block.leads, block.texts, strict=True)
                bare += any(text == lead + "\n" for lead, text in leads)
        if out.finish_reason == "length":
            cut += 1
            assert out.cut_by == "max_new_tokens"
        with monkeypatch.context() as patch:
            patch.setattr(Lane, "missing_end", lambda *_: "")
            assert scripted(decoder, script, **options).token_ids == out.token_ids
    assert cut > 5
    assert bare or mode == "parallel", "some were cut right after their leads"


LONG = " y x" * 9

ENDINGS = [
    # where a branch is cut, what the two around it write, what it ends with
    ((" x", " y"), (" y\n", " y\n"), "\n"),
    ((" x", " y"), (" y\n\n", " y\n\n"), "\n\n"),
    ((" x", "\n"), (" y\n\n", " y\n\n"), "\n"),
    ((" x", "\n"), (" y\n", " y\n"), ""),
    ((" x", "\n\n"), (" y\n", " y\n"), ""),
    ((" x", " "), (" y\n", " y\n"), "\n"),
    ((" x", " "), (" y.", " y."), ""),
    ((" x", " y"), ("; ", " y; "), " "),
    ((" x", " y"), (" y\n", " y"), "\n"),
    ((" x", " y"), (LONG, " y"), "\n"),
    ((" x", " y"), (LONG, LONG), "\n"),
]


@pytest.mark.parametrize("mode", ["parallel", "serial"])
@pytest.mark.parametrize(("pieces", "others", "ending"), ENDINGS)
def test_a_branch_lacks_what_it_has_not_written_of_the_separator(
    pieces, others, ending, mode, decoder
):
    codec = decoder.codec
    first, last = map(codec.encode, others)
    own = [token for piece in (" y" * 4, *pieces) for token in codec.encode(piece)]
    script = {
        (): [*fork(codec, "- A", "B", "C"), *codec.encode("so")],
        ((0, 0),): first,
        ((0, 1),): own + codec.encode("xyx") * 9,
        ((0, 2),): last,
    }
    events = list(scripted_events(decoder, script, mode=mode, max_branch_tokens=len(own)))
    out = checked(events)
    [block] = out.document.blocks()
    assert block.texts[1] == "- B" + " y" * 4 + "".join(pieces) + ending
    assert (out.finish_reason, out.cut_by) == ("length", "max_branch_tokens")
    assert out.text.endswith("so")


def test_a_block_of_one_branch_has_no_separator(decoder):
    codec = decoder.codec
    for titles in (("- A", "A"), ("A", "A")):
        script = {(): fork(codec, *titles), ((0, 0),): codec.encode(" x y") * 9}
        events = list(scripted_events(decoder, script, max_branch_tokens=3))
        assert checked(events).text.removeprefix("- A") == codec.decode(script[((0, 0),)][:3])


def test_hidden_labels_are_no_text_to_separate(decoder):
    codec = decoder.codec
    script = {(): fork(codec, "A", "B", "C"), ((0, 0),): codec.encode("x\n")}
    script |= {((0, 1),): codec.encode("y" * 30), ((0, 2),): codec.encode("x\n")}
    events = scripted_events(decoder, script, mode="serial", strict=False, max_new_tokens=45)
    out = checked(list(events))
    [block] = out.document.blocks()
    assert block.texts[1].endswith("y\n")
    assert block.texts[2] == ""


@pytest.mark.parametrize("positions", ["same-seq", "same-max"])
def test_the_context_length_is_a_budget(positions, tokenizer, monkeypatch):
    context = 72
    model = tiny_model("qwen2", len(tokenizer), max_position_embeddings=context)
    decoder = Decoder(model, tokenizer, positions=positions)
    recorder = make_models_fork(monkeypatch)
    reasons = set()
    for seed in range(8):
        recorder.caches.clear()
        [out] = decoder.generate("Who?", temperature=1.5, seed=seed, max_new_tokens=1000)
        assert out.stats.prompt_tokens + out.stats.tokens <= context
        [cache] = recorder.caches
        assert cache.positions.max() < context
        reasons.add((out.finish_reason, out.cut_by))
    assert ("length", "context") in reasons
    assert reasons <= {("length", "context"), ("stop", None)}


def test_a_prompt_that_fills_the_context_is_refused_with_both_numbers(tokenizer):
    model = tiny_model("qwen2", len(tokenizer), max_position_embeddings=40)
    decoder = Decoder(model, tokenizer)
    words = "x "
    while decoder.generate(words, max_new_tokens=1)[0].stats.prompt_tokens < 39:
        words += "x"
    [out] = decoder.generate(words, max_new_tokens=100)
    assert out.stats.tokens == 1, "one token of context is left"
    with pytest.raises(ModelError, match=r"40 tokens.* 40\b"):
        decoder.generate(words + "x")
    with pytest.raises(ModelError, match=r"has \d{4} tokens.* 40\b"):
        list(decoder.stream("x x " * 1000, mode="plain"))
