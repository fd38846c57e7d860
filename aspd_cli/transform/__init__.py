"""From ordinary answers to parallel training data (paper section 3.3), and checks of such data."""
