"""`deepfake fetch librispeech`: a part of the corpus from its publisher, ready for `dataset=librispeech`."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from deepfake.download import download, unpack
from deepfake.errors import InputError

SOURCE = "https://www.openslr.org/resources/12/"
PARTS = {  # bytes of the archive, and its SHA-256 as torchaudio 2.11 has it
    "dev-clean": (337_926_286, "76f87d090650617fca0cac8f88b9416e0ebf80350acb97b343a85fa903728ab3"),
    "dev-other": (314_305_928, "12661c48e8c3fe1de2c1caa4c3e135193bfb1811584f11f569dd12645aa84365"),
    "test-clean": (346_663_984, "39fde525e59672dc6d1551919b1478f724438a95aa55f874b576be21967e6c23"),
    "test-other": (328_757_843, "d09c181bba5cf717b3dee7d4d592af11a3ee3a09e08ae025c5506f6ebe961c29"),
    "train-clean-100": (6_387_309_499, "d4ddd1d5a6ab303066f14971d768ee43278a5f2a0aa43dc716b0e64ecbbbf6e2"),
    "train-clean-360": (23_049_477_885, "146a56496217e96c14334a160df97fffedd6e0a04e66b9c5af0d40be3c792ecf"),
    "train-other-500": (30_593_501_606, "ddb22f27f96ec163645d53215559df6aa36515f26e01dd70798188350adcb6d2"),
}
EXPANSION = 1.5  # most bytes of the files for one of the archive: FLAC hardly shrinks


def fetch_librispeech(part: str, output: Path) -> None:
    """Bring a part to `output/LibriSpeech/PART`; a part that is there stays as it is.

    Raises:
        InputError: There is no such part, no room or no connection, or what came is not what was published.
    """
    if part not in PARTS:
        raise InputError(f"part={part}: one of {', '.join(PARTS)} was expected")
    base, (n_bytes, sha256) = output / "LibriSpeech", PARTS[part]
    if (base / part).is_dir():
        print(f"{base / part} is there already", file=sys.stderr)
        return
    output.mkdir(parents=True, exist_ok=True)
    archive, unpacked = output / f"{part}.tar.gz", output / f".{part}.unpacked"
    _room(output, archive, n_bytes)
    otherwise = f"run this again to go on; without a connection, download it elsewhere and save it as {archive} first"
    download(SOURCE + archive.name, archive, sha256=sha256, most_bytes=n_bytes, otherwise=otherwise)
    unpack(archive, unpacked, most_bytes=round(n_bytes * EXPANSION))
    if not (unpacked / "LibriSpeech" / part).is_dir():
        shutil.rmtree(unpacked)
        raise InputError(f"{archive} holds no folder LibriSpeech/{part}: another archive was expected, delete it")
    base.mkdir(exist_ok=True)
    for found in (unpacked / "LibriSpeech").iterdir():  # beside the part: README, SPEAKERS ..., the same in every one
        if not (base / found.name).exists():
            found.replace(base / found.name)
    shutil.rmtree(unpacked)
    archive.unlink()


def _room(output: Path, archive: Path, n_bytes: int) -> None:
    had = sum(path.stat().st_size for path in (archive, Path(f"{archive}.part")) if path.exists())
    needed, free = n_bytes * (1 + EXPANSION) - had, shutil.disk_usage(output).free
    if free < needed:
        raise InputError(f"{output}: {needed / 1e9:.1f} GB of free space was expected, there is {free / 1e9:.1f} GB")
