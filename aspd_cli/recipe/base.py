"""What all sections of a recipe share."""

import os
from typing import Any

from pydantic import BaseModel, ConfigDict, field_validator

_PATHS = (
    *("path", "adapter", "tokenizer", "train", "eval", "output_dir", "output_path", "prompts"),
    *("data", "compare", "from_model"),
)
"""Fields of any section that may name a file or directory: `~` is the home directory in them."""


class Section(BaseModel):
    """What all sections share: unknown fields are errors, values are never coerced."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True, allow_inf_nan=False
    )

    @field_validator(*_PATHS, mode="after", check_fields=False)
    @classmethod
    def _from_home(cls, value: Any) -> Any:
        """Expands `~` here, so that every reader of a field gets the same path."""
        if isinstance(value, dict):  # task -> file
            return {name: cls._from_home(path) for name, path in value.items()}
        if isinstance(value, list):  # NAME=PATH or NAME=URL
            return [
                name + equals + os.path.expanduser(path)
                for name, equals, path in (text.rpartition("=") for text in value)
            ]
        if value == "":  # as a path it would be the current directory
            raise ValueError("is empty: give a name, or leave it out")
        return os.path.expanduser(value) if isinstance(value, str) else value
