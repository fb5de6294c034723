"""The build: real top-level packages, and one optional Cython extension.

Without a C compiler the pure-Python twins in core_ext serve, and `truetrack doctor` says so.
TRUETRACK_EXTENSION=require makes a failing build an error, =skip leaves the extension out.
"""

import os
import sys

from setuptools import Extension, find_packages, setup
from setuptools.command.build_ext import build_ext

PACKAGES = [
    "model",
    "core_ext",
    "protocols",
    "storage",
    "gateway",
    "firmware_sim",
    "cli",
]
WISH = os.environ.get("TRUETRACK_EXTENSION", "try")


class OptionalBuildExt(build_ext):  # type: ignore[misc]  # setuptools ships no types
    """A compiler that is missing or broken costs speed, not the installation."""

    def build_extension(self, ext: Extension) -> None:
        try:
            super().build_extension(ext)
        except Exception as error:  # compilers fail in many ways
            if WISH == "require":
                raise
            print(f"truetrack: no compiled {ext.name} ({error}); using Python", file=sys.stderr)


def extensions() -> list[Extension]:
    if WISH == "skip":
        return []
    try:
        from Cython.Build import cythonize  # noqa: PLC0415 - only when the extension is wanted
    except ImportError:
        if WISH == "require":
            raise
        return []
    modules: list[Extension] = cythonize(  # type: ignore[no-untyped-call]
        [Extension("core_ext._nmea", ["core_ext/_nmea.pyx"], extra_compile_args=["-O3"])],
        compiler_directives={"language_level": 3},
    )
    return modules


setup(
    packages=find_packages(include=[p for name in PACKAGES for p in (name, f"{name}.*")]),
    package_data={"": ["py.typed", "*.pyi", "*.sql", "*.toml", "*.ini", "*.mako"]},
    ext_modules=extensions(),
    cmdclass={"build_ext": OptionalBuildExt},
)
