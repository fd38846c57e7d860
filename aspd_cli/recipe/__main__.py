"""`python -m aspd_cli.recipe`: the JSON Schema that ships as assets/recipe.schema.json."""

import json

from aspd_cli.recipe import Recipe

if __name__ == "__main__":
    print(json.dumps(Recipe.model_json_schema(), indent=2))
