"""scripts/install_detectron2.py: nothing of another archive than the expected one is run or kept."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest
from loading import load_script


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package index on this disk, with an archive that is not the expected one."""
    pytest.importorskip("unearth")
    name = "detectron2_cdo-0.5"
    setup = f"open({str(tmp_path / 'run')!r}, 'w').close()\n".encode()
    folder = tmp_path / "simple" / "detectron2-cdo"
    folder.mkdir(parents=True)
    with tarfile.open(folder / f"{name}.tar.gz", "w:gz") as archive:
        for path in ("setup.py", "detectron2/__init__.py"):
            entry = tarfile.TarInfo(f"{name}/{path}")
            entry.size = len(setup)
            archive.addfile(entry, io.BytesIO(setup))
    (folder / "index.html").write_text(f'<a href="{name}.tar.gz">{name}.tar.gz</a>')
    monkeypatch.setenv("PIP_INDEX_URL", (tmp_path / "simple").as_uri() + "/")
    return tmp_path


def test_another_archive_is_refused_before_anything_of_it_is_used(
    index: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="1"):
        load_script("scripts/install_detectron2.py").fetch(index / "download")
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "not the expected one, nothing was installed" in said
    assert not (index / "run").exists()
