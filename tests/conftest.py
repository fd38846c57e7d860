"""Settings of every test: nothing is fetched, and one thread each leaves the cores to xdist."""

import os
import signal

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
# A shell that starts the tests in the background lets them ignore interrupts, and their children.
signal.signal(signal.SIGINT, signal.default_int_handler)
