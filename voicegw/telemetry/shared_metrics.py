"""The metrics of several workers: each counts in its memory-mapped files, in one folder.

A cleaner of temporary files may remove the files while they are mapped. Then their numbers are written again.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

from prometheus_client import values
from prometheus_client.mmap_dict import MmapedDict

FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""The environment variable by which prometheus_client finds the folder."""


class SharedFiles:
    """Makes prometheus_client keep the metrics that this process creates from now on in files of `folder`."""

    def __init__(self, folder: Path) -> None:
        # The folder of all workers' files.
        self.folder = folder
        # The part of the files' names that stands for this process.
        self._identifier = str(os.getpid())
        # Every value of this process.
        self._values: list[Any] = []
        # The names of this process' files that were there at the last check.
        self._names: set[str] = set()
        self._lock = threading.Lock()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.environ[FOLDER_VARIABLE] = str(folder)
        values.ValueClass = self._make_value_class()

    def _make_value_class(self) -> Any:
        base: Any = values.MultiProcessValue(lambda: self._identifier)  # type: ignore[no-untyped-call]
        kept = self._values

        class ListedValue(base):  # type: ignore[misc]
            """A value in a file, which `SharedFiles` can write again."""

            def __init__(self, *args: Any, **kwargs: Any) -> None:
                super().__init__(*args, **kwargs)
                kept.append(self)

        return ListedValue

    def restore(self) -> bool:
        """Write the files of this process again if one is gone; return whether that was necessary.

        Raises `OSError` if the folder cannot be made.
        """
        with self._lock:
            names = {path.name for path in self.folder.glob(f"*_{self._identifier}.db")}
            has_files = bool(names) or not self._values
            if has_files and self._names <= names and self.folder.exists():
                self._names = names
                return False
            self._write_again()
            return True

    def _write_again(self) -> None:
        """Let every value move to files of another name and back: prometheus_client opens new files then."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        identifier = self._identifier
        numbers = [(value, value.get()) for value in self._values]
        for self._identifier in (f"{identifier}-", identifier):
            self._values[0].get()
        for value, number in numbers:
            value.set(number)
        for path in self.folder.glob(f"*_{identifier}-.db"):
            path.unlink(missing_ok=True)

    def read_gauges(self, pid: int) -> dict[str, float]:
        """Return the sums of another process' gauges by name; {} if its files are gone."""
        try:
            found = MmapedDict.read_all_values_from_file(self.folder / f"gauge_livesum_{pid}.db")  # type: ignore[no-untyped-call]
        except OSError:
            return {}
        sums: dict[str, float] = {}
        for key, value, *_ in found:
            name = key.split('"')[1]  # a key is a JSON list that begins with the metric's name
            sums[name] = sums.get(name, 0.0) + value
        return sums
