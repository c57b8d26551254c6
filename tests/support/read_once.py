"""What is read of files that stay as they are, read once in a run of the suite: by the process that
wants it first, for all of them."""

from __future__ import annotations

import fcntl
import hashlib
import os
import pickle
import tempfile
from collections.abc import Callable
from functools import cache, wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

_Arguments = ParamSpec("_Arguments")
_Found = TypeVar("_Found")

# Names the folder of this run to all of its processes.
_VARIABLE = "ORIGIN_TEST_RUN"


def begin_run() -> tempfile.TemporaryDirectory[str]:
    """Makes the folder that processes which are started from now on share; its owner removes it."""
    folder = tempfile.TemporaryDirectory(prefix="origin-suite-")
    os.environ[_VARIABLE] = folder.name
    return folder


def read_once(function: Callable[_Arguments, _Found]) -> Callable[_Arguments, _Found]:
    """``function``, whose result depends on its arguments alone: callers share it and leave it as
    it is. Outside of a run each process calls it once."""

    @cache
    @wraps(function)
    def found(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Found:
        folder = os.environ.get(_VARIABLE)
        if folder is None or not Path(folder).is_dir():
            return function(*args, **kwargs)
        asked = repr((function.__qualname__, args, sorted(kwargs.items())))
        path = Path(folder) / hashlib.sha256(asked.encode()).hexdigest()[:32]
        with path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if path.exists():
                known: _Found = pickle.loads(path.read_bytes())
                return known
            new = function(*args, **kwargs)
            path.write_bytes(pickle.dumps(new))
            return new

    return found
