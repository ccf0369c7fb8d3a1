"""All evidence of one explained file in a ZIP file, with the sums to check it by."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from deepfake.errors import InputError
from deepfake.forensics.verify import read_report
from deepfake.runs.provenance import hash_of_file

VERSION = "1.0"
MANIFEST, AUDIO, REPORT = "manifest.json", "audio", "report.json"
FIRST = (1980, 1, 1, 0, 0, 0)  # the earliest time that a ZIP file can hold


def bundle(folder: str | Path, *, include_audio: bool = False, audio: Path | None = None) -> Path:
    """Pack the folder of an explained file as `FOLDER.zip` beside it: the same bytes for the same contents.

    Names are in order, times and permissions fixed, and nothing is compressed: what a compressor makes of the same
    bytes differs between its versions, and pictures would hardly shrink. `manifest.json` lists size and SHA-256 of
    every file. Links, hidden files and what is neither file nor folder are left out and named there; no link is
    followed. The recording itself is packed only if asked for, wherever it lies, and only if it is still the one that
    the report speaks of.

    Args:
        folder: With a `report.json`.
        include_audio: Whether to pack the recording, as `audio/NAME`.
        audio: Where the recording lies now; None for where the report says.

    Raises:
        InputError: The folder or its report is missing, a name cannot be kept, or the recording is gone or changed.
    """
    folder = Path(folder).resolve()
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder: give that of one explained file")
    if (folder / REPORT).is_symlink():
        raise InputError(f"{folder / REPORT} is a link: the report itself was expected")
    recording = read_report(folder / REPORT)["file"]
    packed: dict[str, Path] = {}
    left_out: list[str] = []
    for name, path in _members(folder):
        if name == MANIFEST or name.startswith(f"{AUDIO}/"):
            continue  # of a bundle that was unpacked here
        if path.is_symlink() or path.name.startswith(".") or not stat.S_ISREG(path.lstat().st_mode):
            left_out.append(name)
        elif hash_of_file(path) != recording["sha256"]:
            packed[name] = path
    if include_audio:
        packed |= _audio(recording, audio or Path(recording["path"] or recording["name"]))
    target = folder.with_name(f"{folder.name}.zip")
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        _write(part, packed, left_out, recording["sha256"])
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    return target


def _members(folder: Path) -> Iterator[tuple[str, Path]]:
    """Everything below a folder but the folders themselves, by its name in the bundle; links are not gone into."""
    for root, folders, files in os.walk(folder, followlinks=False):
        links = [name for name in folders if (Path(root) / name).is_symlink()]
        folders[:] = [name for name in folders if name not in links and not name.startswith(".")]
        for name in files + links:
            path = Path(root) / name
            relative = path.relative_to(folder).as_posix()
            try:
                relative.encode()
            except UnicodeEncodeError:
                raise InputError(f"{relative!r}: a name that is not UTF-8 cannot be kept; rename the file") from None
            yield relative, path


def _audio(recording: dict[str, Any], path: Path) -> dict[str, Path]:
    """Where the recording of a report lies, by its name in the bundle."""
    name = recording["name"]
    if Path(name).name != name or name in ("", ".", ".."):
        raise InputError(f"the report calls the recording {name!r}: a name without folders was expected")
    if not path.is_file():
        raise InputError(f"{path}: the recording is not there any more; leave out --include-audio, or bring it back")
    if hash_of_file(path) != recording["sha256"]:
        raise InputError(f"{path} is not the recording that the report speaks of: its SHA-256 is another")
    return {f"{AUDIO}/{name}": path}


def _write(target: Path, packed: dict[str, Path], left_out: list[str], audio_sha256: str) -> None:
    rows = []
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(packed):
            digest, size = hashlib.sha256(), 0
            with packed[name].open("rb") as source, archive.open(_entry(name, packed[name]), "w") as copy:
                while block := source.read(1 << 20):
                    digest.update(block)
                    size += len(block)
                    copy.write(block)
            if name.startswith(f"{AUDIO}/") and digest.hexdigest() != audio_sha256:
                raise InputError(f"{packed[name]} changed while it was packed: do it again")
            rows.append({"path": name, "bytes": size, "sha256": digest.hexdigest()})
        manifest = {"schema": VERSION, "files": rows, "left_out": sorted(left_out)}
        text = json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"
        archive.writestr(_entry(MANIFEST, None), text)


def _entry(name: str, path: Path | None) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, FIRST)
    entry.create_system, entry.external_attr = 3, (stat.S_IFREG | 0o644) << 16
    entry.file_size = path.stat().st_size if path else 0
    return entry
