"""Text from outside: secrets are taken out, and nothing in it moves a terminal."""

import base64

import pytest

from aspd_cli.recipe import Recipe
from aspd_cli.recipe.endpoint import EndpointSection
from aspd_cli.recipe.sections import EvaluationSection, TransformSection
from aspd_cli.safe_text import excerpt, keep_secret, printable, redact, without_secrets


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("at https://me:pw@host/v1?x=1", "at https://***@host/v1?x=1"),
        ("at https://me:p@w@host", "at https://***@host"),
        ("https://host/?api-key=abc&x=1", "https://host/?api-key=***&x=1"),
        ("https://host/?key=abc#a", "https://host/?key=***#a"),
        ("Authorization: Bearer abc", "Authorization: ***"),
        ("{'api_key': 'abc', 'x': 1}", "{'api_key': '***', 'x': 1}"),
        ("got Bearer a1b2c3d4e5 there", "got Bearer *** there"),
        ("got sk-proj-a1b2c3d4 there", "got *** there"),
    ],
)
def test_what_looks_like_a_secret_is_taken_out(text: str, clean: str) -> None:
    assert redact(text) == clean


@pytest.mark.parametrize(
    "text",
    [
        "a control token: it ends here",
        "max_tokens: 5, prompt_tokens=7, the key: none",
        "Bearer authentication failed",
        "tokenizer=runs/mine eos_token=</s>",
        "mail me@host.org, see https://host/a@b",
    ],
)
def test_other_words_stay(text: str) -> None:
    assert redact(text) == text


def test_a_known_secret_is_found_however_it_is_spelled() -> None:
    keep_secret('k\u00e9y/"9876')
    encoded = base64.b64encode('k\u00e9y/"9876'.encode()).decode()
    for spelled in ('k\u00e9y/"9876', "k%C3%A9y%2F%229876", 'k\\u00e9y/\\"9876', encoded):
        assert redact(f"<{spelled}>") == "<***>"
    keep_secret("local1")
    assert redact("local1, local12") == "***, local12", "a short one may be part of a word"


def test_control_codes_become_visible_and_text_of_all_scripts_stays() -> None:
    assert printable("a\x1b[2J\x9b\r\x00\ud800\u202e\u2028b") == (
        "a\\x1b[2J\\x9b\\r\\x00\\ud800\\u202e\\u2028b"
    )
    kept = "tab\tline\nnbsp\u00a0ideographic\u3000joined\u200d\U0001f468"
    assert printable(kept) == kept


def test_an_excerpt_is_one_short_line_that_cuts_no_secret_open() -> None:
    keep_secret("abcdefgh12345678")
    said = excerpt("a\n b " + "x" * 190 + "abcdefgh12345678")
    assert "\n" not in said
    assert "abc" not in said
    assert len(said) <= 200


def test_a_saved_recipe_holds_no_secret_and_nothing_else_is_taken_out() -> None:
    section = EndpointSection(
        model="m",
        base_url="https://me:hunter2@host/v1?api-version=1&api-key=abc",
        extra_body={
            "apiKey": "s3cret1",
            "headers": {"Authorization": "Bearer s3cret2", "X-Api-Key": "s3cret3"},
            "max_tokens": 5,
            "stop_token_ids": [1],
            "prompt_cache_key": "mine",
            "top_k": 7,
            "list": [{"password": "s3cret4"}],
        },
    )
    recipe = Recipe(
        transform=TransformSection(endpoint=section), evaluation=EvaluationSection(judge=section)
    )
    text = recipe.to_yaml()
    for secret in ("s3cret", "hunter2", "abc"):
        assert secret not in text
    kept = section.without_secrets()
    assert kept.base_url == "https://***@host/v1?api-version=1&api-key=***"
    assert kept.extra_body["max_tokens"] == 5
    assert kept.extra_body["prompt_cache_key"] == "mine"
    assert kept.extra_body["stop_token_ids"] == [1]
    assert without_secrets(kept.extra_body) == kept.extra_body
    assert set(section.secrets()) >= {"hunter2", "abc", "s3cret1", "s3cret2", "s3cret3", "s3cret4"}
