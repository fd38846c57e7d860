"""The section of an endpoint: where it is, how it is asked, what it costs."""

from typing import Any, Self

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

    def without_secrets(self) -> Self:
        """The section as it may be saved and shown."""
        url = self.base_url and without_secrets(self.base_url)
        return self.model_copy(
            update={"base_url": url, "extra_body": without_secrets(self.extra_body)}
        )

    def secrets(self) -> list[str]:
        """What `without_secrets` hides."""
        return [*secrets_of_url(self.base_url or ""), *secrets_in(self.extra_body)]
