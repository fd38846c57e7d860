"""The hybrid serial-parallel decoding engine: many lanes, one sequence, one key-value cache."""
