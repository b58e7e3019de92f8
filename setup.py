"""Map the top-level source folders into the one installed namespace `moesaic`."""

from setuptools import find_packages, setup

FOLDERS = ("models", "hw", "sim", "dataflow", "hls_templates", "reports")


def packages_in(folder: str) -> list[str]:
    """Return the installed names of one source folder and of all packages below it."""
    return [f"moesaic.{folder}", *(f"moesaic.{folder}.{sub}" for sub in find_packages(folder))]


setup(
    package_dir={f"moesaic.{folder}": folder for folder in FOLDERS},
    packages=[name for folder in FOLDERS for name in packages_in(folder)],
)
