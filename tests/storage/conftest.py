"""Folders for servers of a test's own."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def cluster_folder() -> Iterator[Path]:
    """A data directory that another user may reach, should the server run as one."""
    folder = Path(tempfile.mkdtemp(prefix="truetrack-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)
