"""The same examples in every run. To look for new ones: HYPOTHESIS_PROFILE=explore."""

import os

from hypothesis import settings

settings.register_profile("fixed", deadline=None, derandomize=True, max_examples=40)
settings.register_profile("explore", deadline=None, max_examples=500)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fixed"))
