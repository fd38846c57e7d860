"""The losses of a run as a picture."""

from pathlib import Path
from typing import Any

from aspd_cli.files import write_atomically

_KINDS = ("eval_loss", "eval_loss_serial", "eval_loss_title", "eval_loss_branch")


def draw_losses(history: list[dict[str, Any]], path: Path) -> bool:
    """Writes a PNG of training and evaluation losses over steps; False when there are none.

    Args:
        history: `log_history` of a trainer's state.
    """
    curves = {name: _curve(history, name) for name in ("loss", *_KINDS)}
    curves = {name: points for name, points in curves.items() if points}
    if not curves:
        return False
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(7, 4.2), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    for name, points in curves.items():
        label = "training" if name == "loss" else name.replace("eval_loss", "evaluation")
        marker = "o" if len(points) < 30 else None
        steps, losses = [step for step, _ in points], [loss for _, loss in points]
        axes.plot(steps, losses, label=label.replace("_", ", "), marker=marker, markersize=3)
    axes.set_xlabel("step")
    axes.set_ylabel("loss (nats a token)")
    values = [value for points in curves.values() for _, value in points]
    if min(values) > 0 and max(values) > 10 * min(values):
        axes.set_yscale("log")
    axes.grid(alpha=0.3)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.legend(loc="outside upper center", ncols=3, frameon=False)
    with write_atomically(path) as file:
        figure.savefig(file, format="png")
    return True


def _curve(history: list[dict[str, Any]], name: str) -> list[tuple[int, float]]:
    return [(entry["step"], entry[name]) for entry in history if name in entry]
