"""Tasks of lm-eval by name: its own, those of the package, and either on a local file.

specs, manager, notes = find_tasks(["gsm8k"], {"gsm8k": "test.jsonl"}, num_fewshot=None)
"""

import difflib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from aspd_cli.errors import DataError, UsageError

OURS = Path(__file__).parent / "aspd_synth"
_READERS = {".parquet": "parquet", ".csv": "csv"}
"""Reader of `datasets` for a suffix; JSON, with or without lines, for all others."""


class Tasks:
    """The tasks of one run, ready for lm-eval as often as it wants them."""

    def __init__(
        self,
        names: Sequence[str],
        data: Mapping[str, str],
        *,
        num_fewshot: int | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        """Finds the tasks; reads no documents yet.

        Args:
            data: TASK, or TASK.SPLIT, -> file with the documents.

        Raises:
            UsageError: there is no such task, or `data` names one that is not run.
            DataError: a file of `data` does not exist.
        """
        self.names = list(dict.fromkeys(names))
        self.manager = _manager(tuple(self.names), dict(metadata or {}))
        for name in self.names:
            if name not in self.manager.all_tasks:
                near = difflib.get_close_matches(name, self.manager.all_tasks, n=1)
                hint = f"; did you mean {near[0]}?" if near else ""
                raise UsageError(f"there is no task {name!r}{hint}")
        self.notes: list[str] = []
        self.num_fewshot = num_fewshot
        files = _files(data, self.names)
        self.specs = [
            self._local(name, files[name]) if name in files else name for name in self.names
        ]

    def load(self) -> dict[str, Any]:
        """lm-eval's tasks and groups, with their documents.

        Raises:
            DataError: the documents of a task cannot be reached or read.
        """
        built = [
            task
            for name, spec in zip(self.names, self.specs, strict=True)
            for task in self._build(name, spec)
        ]
        loaded: dict[str, Any] = self.manager.load(built)
        return loaded

    def _build(self, name: str, spec: str | dict[str, Any]) -> list[Any]:
        """The task or group of a name, or the tasks of a tag."""
        try:
            if isinstance(spec, str):
                loaded = self.manager.load(spec)
                group = loaded["groups"].get(spec)
                return list(loaded["tasks"].values()) if group is None else [group]
            # Only a group may change settings of a task that lm-eval knows.
            loaded = self.manager.load({"group": f"{name} on local files", "task": [spec]})
            return [loaded["tasks"][name]]
        except Exception as error:  # whatever the network, the Hub and the readers make of it
            said = [line.strip() for line in str(error).splitlines() if line.strip()]
            reason = said[0] if said else type(error).__name__
            if not isinstance(spec, str):
                files = ", ".join(spec["dataset_kwargs"]["data_files"].values())
                raise DataError(f"{name} cannot be run on {files}: {reason}") from error
            place = self._config(name).get("dataset_path")
            where = f" ({place} on the Hub)" if place else ""
            raise DataError(
                f"cannot load the data of the task {name}{where}: {reason}; give a local "
                f"file with --data {name}=FILE.jsonl"
            ) from error

    def _config(self, name: str) -> dict[str, Any]:
        """The settings of a task as its YAML has them."""
        entry = self.manager.task_index[name]
        found: dict[str, Any] = self.manager._factory._load_full_config(entry)
        return found

    def _local(self, name: str, files: dict[str, Path]) -> dict[str, Any]:
        """The stock task with its documents out of local files."""
        config = self._config(name)
        if "task" not in config or not isinstance(config["task"], str) or "class" in config:
            raise UsageError(
                f"--data works only for single YAML tasks, and {name} is not one: name its parts"
            )
        split = config.get("test_split") or config.get("validation_split") or "test"
        splits = {("test" if given == "" else given): path for given, path in files.items()}
        if "" in files:
            splits = {split: files[""]} | {k: v for k, v in files.items() if k}
        if split not in splits:
            raise UsageError(f"--data {name}=FILE is missing: {name} asks about its {split} split")
        kinds = {_READERS.get(path.suffix, "json") for path in splits.values()}
        if len(kinds) > 1:
            raise UsageError(f"the files of {name} have different formats; convert them to one")
        shots = config.get("fewshot_split") or config.get("training_split")
        if shots not in splits:
            wanted = self.num_fewshot if self.num_fewshot is not None else config.get("num_fewshot")
            if wanted and config.get("num_fewshot") != 0 and not _own_samples(config):
                self.notes.append(
                    f"{name}: the {wanted} solved examples before each question come from the "
                    "same file (never the question itself); "
                    f"--data {name}.{shots or 'train'}=FILE gives them one of their own"
                )
            shots = split
        return {
            "task": name,
            "dataset_path": kinds.pop(),
            "dataset_name": None,
            "dataset_kwargs": {"data_files": {k: str(v) for k, v in splits.items()}},
            "test_split": split,
            "validation_split": None,
            "training_split": shots if shots != split else None,
            "fewshot_split": shots,
        }


def _own_samples(config: Mapping[str, Any]) -> bool:
    """Whether the task's YAML holds its solved examples itself."""
    return bool((config.get("fewshot_config") or {}).get("samples"))


def _files(data: Mapping[str, str], names: Sequence[str]) -> dict[str, dict[str, Path]]:
    """Task -> split ("" where none was named) -> file."""
    found: dict[str, dict[str, Path]] = {}
    for key, value in data.items():
        task, _, split = (key, "", "") if key in names else key.rpartition(".")
        if task not in names:
            raise UsageError(
                f"--data {key}=... names no task of this run; --tasks has "
                f"{', '.join(names) or 'none'}"
            )
        path = Path(value)
        if not path.is_file():
            raise DataError(f"no file {path}, which --data gives for {task}")
        found.setdefault(task, {})[split] = path.resolve()
    return found


@cache
def _stock(name: str) -> Path | None:
    """The folder of a stock task that has a file of its name: reading all of them takes long."""
    import lm_eval.tasks

    root = Path(lm_eval.tasks.__file__).parent
    return next((path.parent for path in root.rglob(f"{name}.yaml")), None)


def _manager(names: tuple[str, ...], metadata: dict[str, Any]) -> Any:
    from lm_eval.tasks import TaskManager

    foreign = [name for name in names if not any(OURS.rglob(f"{name}.yaml"))]
    folders = [_stock(name) for name in foreign]
    if all(folder is not None for folder in folders):
        paths = [str(OURS), *dict.fromkeys(map(str, folders))]
        manager = TaskManager(include_path=paths, include_defaults=False, metadata=metadata)
        if set(names) <= set(manager.all_tasks):
            return manager
    return TaskManager(include_path=str(OURS), metadata=metadata)
