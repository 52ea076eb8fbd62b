"""We change nothing in verl: its installed files are those that its wheel's RECORD lists."""

import base64
import hashlib
from importlib import metadata

import pytest


def test_every_installed_file_of_verl_is_as_its_record_says() -> None:
    try:
        files = metadata.files("verl")
    except metadata.PackageNotFoundError:
        pytest.skip("verl is not installed")
    if not files or not any(file.hash for file in files):
        pytest.skip("verl is installed from source, without a RECORD of hashes")
    hashed = [file for file in files if file.hash is not None]
    assert len(hashed) > 100
    assert [str(file) for file in hashed if differs(file)] == []


def differs(file: metadata.PackagePath) -> bool:
    assert file.hash is not None
    digest = hashlib.new(file.hash.mode, file.locate().read_bytes()).digest()  # pyright: ignore
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != file.hash.value
