"""The commands. Each file parses its arguments, imports late and calls one function."""
