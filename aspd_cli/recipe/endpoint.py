"""Endpoints that judge and propose, with what they cost; and servers that answer prompts."""

from typing import Any, Self
from urllib.parse import urlsplit, urlunsplit

from pydantic import Field, model_validator

from aspd_cli.recipe.base import Section
from aspd_cli.safe_text import secrets_in, secrets_of_url, without_secrets


class EndpointSection(Section):
    """An OpenAI-compatible chat endpoint: the API itself, vLLM, SGLang, llama.cpp and others."""

    model: str = Field(min_length=1)
    """Name of the model at the endpoint."""
    base_url: str | None = Field(None, pattern="^https?://")
    """URL of the endpoint, as in http://localhost:8000/v1; null: the OpenAI API."""
    api_key_env: str = "OPENAI_API_KEY"
    """Environment variable with the API key; optional if `base_url` is set."""
    temperature: float | None = Field(None, ge=0)
    """Sampling temperature; null: the endpoint's default."""
    top_p: float | None = Field(None, gt=0, le=1)
    """Sample from the fewest tokens that reach this probability; null: the endpoint's default."""
    max_tokens: int | None = Field(None, ge=1)
    """Longest reply in tokens, including reasoning; null: the endpoint's default."""
    extra_body: dict[str, Any] = {}
    """Extra fields for every request, as in {reasoning_effort: low}."""
    concurrency: int = Field(64, ge=1, le=4096)
    """Maximum number of requests in flight."""
    requests_per_minute: float | None = Field(None, gt=0)
    """Maximum number of requests started per minute; null: no limit."""
    tokens_per_minute: float | None = Field(None, gt=0)
    """Maximum number of tokens per minute, prompts and replies together; null: no limit."""
    timeout: float = Field(300.0, gt=0)
    """Seconds after which a request counts as failed."""
    max_retries: int = Field(8, ge=0)
    """How often to retry a failed request, with exponential backoff."""
    price_input: float | None = Field(None, ge=0)
    """Price in dollars per million prompt tokens."""
    price_output: float | None = Field(None, ge=0)
    """Price in dollars per million reply tokens."""
    budget: float | None = Field(None, gt=0)
    """Most dollars to spend on an output, over all resumed runs; null: no limit."""
    budget_tokens: int | None = Field(None, ge=1)
    """Most tokens to spend on an output, over all resumed runs; null: no limit."""

    @model_validator(mode="after")
    def _dollars_need_prices(self) -> Self:
        if self.budget is not None and (self.price_input is None or self.price_output is None):
            raise ValueError("a budget in dollars needs price_input and price_output")
        return self

    @property
    def is_greedy(self) -> bool:
        """Whether all samples of a call are the same one: its temperature is 0."""
        return self.extra_body.get("temperature", self.temperature) == 0

    def without_secrets(self) -> Self:
        """The section as it may be saved and shown."""
        url = self.base_url and without_secrets(self.base_url)
        return self.model_copy(
            update={"base_url": url, "extra_body": without_secrets(self.extra_body)}
        )

    def secrets(self) -> list[str]:
        """What `without_secrets` hides."""
        return [*secrets_of_url(self.base_url or ""), *secrets_in(self.extra_body)]


class ServerSection(Section):
    """An OpenAI-compatible server, such as `aspd serve`, that answers prompts."""

    base_url: str = Field("http://127.0.0.1:8000/v1", pattern="^https?://")
    """URL of the server; without a path, /v1 is meant."""
    model: str = ""
    """Name of the model there; empty: the only one that the server lists."""
    api_key_env: str = "OPENAI_API_KEY"
    """Environment variable with the API key, if the server asks for one."""
    extra_body: dict[str, Any] = {}
    """Extra fields for every request, as in {reasoning_effort: low}."""
    timeout: float = Field(300.0, gt=0)
    """Seconds of silence after which a request counts as failed."""
    max_retries: int = Field(8, ge=0)
    """How often to retry a failed request of a file of prompts, with exponential backoff."""

    def as_endpoint(self, *, max_retries: int | None = None) -> EndpointSection:
        """How it is asked."""
        return EndpointSection(
            model=self.model or "default",
            base_url=_with_path(self.base_url),
            api_key_env=self.api_key_env,
            extra_body=self.extra_body,
            timeout=self.timeout,
            max_retries=self.max_retries if max_retries is None else max_retries,
        )

    def without_secrets(self) -> Self:
        """The section as it may be saved and shown."""
        shown = self.as_endpoint().without_secrets()
        return self.model_copy(
            update={"base_url": without_secrets(self.base_url), "extra_body": shown.extra_body}
        )


def _with_path(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        return url
    if parts.path not in ("", "/"):
        return url
    return urlunsplit((parts.scheme, parts.netloc, "/v1", parts.query, parts.fragment))
