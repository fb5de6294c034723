"""The build: real top-level packages, and optional Cython extensions.

Without a C compiler the pure-Python twins in core_ext serve, and `truetrack doctor` says so.
TRUETRACK_EXTENSION=require makes a failing build an error, =skip leaves the extensions out.
"""

import os

from setuptools import Extension, find_packages, setup

PACKAGES = [
    "model",
    "core_ext",
    "protocols",
    "storage",
    "gateway",
    "firmware_sim",
    "cli",
]
KERNELS = ["_nmea", "_columns"]
WISH = os.environ.get("TRUETRACK_EXTENSION", "try")


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
        [
            Extension(f"core_ext.{name}", [f"core_ext/{name}.pyx"], extra_compile_args=["-O3"])
            for name in KERNELS
        ],
        compiler_directives={"language_level": 3},
    )
    for module in modules:
        module.optional = WISH != "require"  # a broken compiler costs speed, not the installation
    return modules


setup(
    packages=find_packages(include=[p for name in PACKAGES for p in (name, f"{name}.*")]),
    # Migrations are read by Alembic from their folder: files, not packages.
    package_data={
        "": ["py.typed", "*.pyi"],
        "storage": ["migrations/*.py", "migrations/versions/*.py", "migrations/versions/*.sql"],
    },
    ext_modules=extensions(),
)
