"""Archive files by their numbers."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidecar.errors import FragmentNotFound
from sidecar.live import archive_folder
from sidecar.live.archive_folder import ArchiveFolder
from sidecar.live.index import PointIndex
from sidecar.live.index_files import FileRow


def test_paths_are_remembered_but_not_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = PointIndex.open(tmp_path / "ch.db3", create=True)
    with index.transaction():
        for number in range(1, 10):
            index.add_file("main", 1, f"ch-main-{number}.mp4", 0)
            (tmp_path / f"ch-main-{number}.mp4").write_bytes(bytes(number))
    asked = []
    files = PointIndex.files

    def counted(of: PointIndex, number: int | None = None) -> tuple[FileRow, ...]:
        asked.append(number)
        return files(of, number)

    monkeypatch.setattr(PointIndex, "files", counted)
    monkeypatch.setattr(archive_folder, "_KNOWN", 8)
    folder = ArchiveFolder(index)
    for number in (*range(1, 9), 8, 1, 9, 1):
        found = folder.identity(number)
        assert (found.path, found.size) == (str(tmp_path / f"ch-main-{number}.mp4"), number)
    assert asked == [*range(1, 10), 1]
    (tmp_path / "ch-main-9.mp4").unlink()
    for number in (9, 10):
        with pytest.raises(FragmentNotFound):
            folder.identity(number)
    index.close()
