"""What is installed is what is here: a file that is left out is missed only elsewhere."""

import os
import subprocess
import sys
from pathlib import Path

from tests.test_layers import ALLOWED, ROOT

NOT_INSTALLED = {".pyx", ".c", ".so", ".pyc"}


def test_a_build_holds_every_file_of_every_folder(tmp_path: Path):
    steps = [
        "egg_info",
        "--egg-base",
        str(tmp_path),
        "build_py",
        "--build-lib",
        str(tmp_path / "lib"),
    ]
    subprocess.run(
        [sys.executable, "setup.py", "-q", *steps],
        cwd=ROOT,
        env={**os.environ, "TRUETRACK_EXTENSION": "skip"},
        check=True,
        capture_output=True,
    )
    here = {
        path.relative_to(ROOT)
        for folder in ALLOWED
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and path.suffix not in NOT_INSTALLED
    }
    built = {path.relative_to(tmp_path / "lib") for path in (tmp_path / "lib").rglob("*.*")}
    assert here - built == set()
