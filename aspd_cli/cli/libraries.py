"""What transformers and its relatives tell on standard error, turned off."""

import warnings


def hush() -> None:
    """Silences progress bars, notes and warnings of libraries.

    They speak of their own affairs, like names that will change. What a user has to know is an
    `AspdError`.
    """
    from huggingface_hub.utils import logging as hub_logging
    from transformers.utils import logging

    warnings.simplefilter("ignore")
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    hub_logging.set_verbosity_error()
