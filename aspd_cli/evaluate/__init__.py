"""Quality and speed of systems: tasks of lm-eval, judged benches, latency and replay."""
