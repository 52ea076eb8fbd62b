"""Versions of installed packages, for the records of what made a file or a score."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version


def installed_version(package: str) -> str | None:
    """The version of an installed package; None where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Version of each package that is installed."""
    return {package: number for package in packages if (number := installed_version(package)) is not None}
