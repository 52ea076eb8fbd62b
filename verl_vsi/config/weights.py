"""Which weights lie in a folder, told in seconds: names, sizes and samples of their files."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

WEIGHTS = (".safetensors", ".bin", ".pt", ".distcp")
NO_WEIGHTS = ("optim", "extra_state")
SAMPLE = 1 << 20
"""Bytes read at the start, the middle and the end of a file of weights."""


def weights_sha256(folder: Path) -> str:
    """Digest over name, size and three samples of each file of weights; whole files of gigabytes would take minutes.

    Args:
        folder: of a model or a checkpoint; folders in it count too.
    """
    digest = sha256()
    for file in sorted(p for p in folder.rglob("*") if p.suffix in WEIGHTS and not p.name.startswith(NO_WEIGHTS)):
        digest.update(f"{file.relative_to(folder)} {file.stat().st_size}".encode())
        with file.open("rb") as stream:
            for part in (0.0, 0.5, 1.0):
                stream.seek(int(part * max(0, file.stat().st_size - SAMPLE)))
                digest.update(stream.read(SAMPLE))
    return digest.hexdigest()
