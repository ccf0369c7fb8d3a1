"""The files that weights of pre-trained networks are published in, read as the untrusted input that they may be."""

from __future__ import annotations

import argparse
import fcntl
import itertools
import json
import math
import struct
import urllib.parse
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch

from deepfake.download import download
from deepfake.errors import InputError

MOST_BYTES = 16 << 30  # of a file that is downloaded
MOST_HEADER = 1 << 26  # bytes of names and shapes in a safetensors file
DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
DTYPES |= {"I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8}
DTYPES |= {"BOOL": torch.bool}
CTRANSLATE2 = 6  # version of the format, the first four bytes
CTRANSLATE2_DTYPES = (torch.float32, torch.int8, torch.int16, torch.int32, torch.float16, torch.bfloat16)
MOST_DIMENSIONS = 8


@contextmanager
def weights_of(file: Path, expected: str) -> Iterator[dict[str, Any]]:
    """The content of a file, tensors and settings by name; no code in it is executed.

    What goes wrong with the file, here and within the context, ends in a sentence.

    Args:
        file: One of safetensors, of torch, or of CTranslate2 (`.bin`).
        expected: Whose weights were expected, for the message.

    Raises:
        InputError: There is no such file, it cannot be read, or an entry that is asked for is not in it (KeyError).
    """
    if not file.is_file():
        raise InputError(f"features.weights={file}: a file was expected; copy it there from where it was downloaded")
    try:
        yield _content(file)
    except InputError:
        raise
    except KeyError as error:
        raise InputError(f"features.weights={file}: {missing([str(error.args[0])])}") from error
    except Exception as error:
        what = " ".join(str(error).split())[:200]
        raise InputError(f"features.weights={file}: weights of {expected} were expected ({what})") from error


def missing(names: Iterable[str], unexpected: Iterable[str] = ()) -> str:
    """What a file lacks and has too much, for messages."""
    found = {"lacks": sorted(names), "has the unknown": sorted(unexpected)}
    parts = [f"it {verb} {', '.join(n[:3])}{' ...' * (len(n) > 3)}" for verb, n in found.items() if n]
    return f"{' and '.join(parts)}: the whole weights of one network were expected; download the file again"


def fetched(address: str | None, sha256: str | None, cache: Path) -> Path:
    """A published file in a folder of such files; downloaded where it is not there yet, and verified in either case.

    Args:
        address: Of the file.
        sha256: Of the file, part of its name there.
        cache: The folder.

    Raises:
        InputError: Address or SHA-256 are not known, there is no connection, or the file is not the published one.
    """
    if not address or not sha256:
        what = f"no SHA-256 of {address} is known to check it by" if address else "no address is known"
        raise InputError(
            f"features.weights=fetch: {what}; download the file yourself and give features.weights=FILE, or give "
            "features.address and features.sha256 as its publisher states them"
        )
    name = PurePosixPath(urllib.parse.urlparse(address).path)
    file = cache.expanduser() / f"{name.stem}-{sha256[:8]}{name.suffix}"
    cache.expanduser().mkdir(parents=True, exist_ok=True)
    otherwise = "without a connection, download it elsewhere and give features.weights=FILE"
    with (file.with_name(".lock")).open("w") as lock:
        fcntl.lockf(lock, fcntl.LOCK_EX)  # another process of the same training may be at it
        download(address, file, sha256=sha256, most_bytes=MOST_BYTES, otherwise=otherwise)
    return file


def _content(file: Path) -> dict[str, Any]:
    if file.suffix == ".safetensors":
        return read_safetensors(file)
    with file.open("rb") as stream:
        version = int.from_bytes(stream.read(4), "little")
    return _ctranslate2(file) if version == CTRANSLATE2 else _torch(file)


def _torch(file: Path) -> dict[str, Any]:
    """A file of torch, without executing code in it; older ones of fairseq hold their arguments as a Namespace."""
    with torch.serialization.safe_globals([argparse.Namespace]):
        return torch.load(file, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file))


def read_safetensors(file: Path) -> dict[str, Any]:
    """A file of names, shapes and places as JSON, then the values one after another without gaps.

    Raises:
        ValueError: The places do not fill the file, or do not fit the shapes.
    """
    with file.open("rb") as stream:
        n_header, n_file = int.from_bytes(stream.read(8), "little"), file.stat().st_size
        if n_header > min(MOST_HEADER, n_file - 8):
            raise ValueError("its header is longer than the file")
        header = json.loads(stream.read(n_header))
    header.pop("__metadata__", None)
    values = np.memmap(file, np.uint8, "c", offset=8 + n_header)  # a copy on write: the file is left alone
    places, tensors = [(0, 0)], {}
    for name, entry in header.items():
        dtype, shape, (begin, end) = DTYPES[entry["dtype"]], entry["shape"], entry["data_offsets"]
        if min(shape, default=0) < 0 or not 0 <= begin <= end <= len(values):
            raise ValueError(f"{name} lies outside the file")
        if (n := math.prod(shape)) * dtype.itemsize != end - begin:
            raise ValueError(f"{name} does not fill its place")
        places.append((begin, end))
        tensors[name] = torch.frombuffer(values, dtype=dtype, count=n, offset=begin).view(shape)
    places = [*sorted(places), (len(values), len(values))]
    if any(a[1] != b[0] for a, b in itertools.pairwise(places)):
        raise ValueError("its tensors overlap or leave gaps")
    return tensors


def _ctranslate2(file: Path) -> dict[str, Any]:
    """A file of CTranslate2: `spec`, its kind of network, and each variable by its name.

    Raises:
        ValueError: It ends too early or too late, or a variable does not fill its place.
        IndexError: An unknown type.
    """
    values, at = np.memmap(file, np.uint8, "r"), 0

    def take(n: int) -> bytes:
        nonlocal at
        if n > len(values) - at:
            raise ValueError("it ends too early")
        at += n
        return values[at - n : at].tobytes()

    def number(kind: str) -> int:
        return struct.unpack(f"<{kind}", take(struct.calcsize(kind)))[0]

    def text() -> str:
        return take(number("H")).rstrip(b"\0").decode()

    number("I")  # version of the format
    content: dict[str, Any] = {"spec": text()}
    number("I")  # version of the network's variables
    for _ in range(number("I")):
        name, n_dimensions = text(), number("B")
        if n_dimensions > MOST_DIMENSIONS:
            raise ValueError(f"{name} has {n_dimensions} dimensions")
        shape = [number("I") for _ in range(n_dimensions)]
        dtype, n_bytes = CTRANSLATE2_DTYPES[number("B")], number("I")
        if math.prod(shape) * dtype.itemsize != n_bytes or not n_bytes:
            raise ValueError(f"{name} does not fill its place")
        content[name] = torch.frombuffer(bytearray(take(n_bytes)), dtype=dtype).view(shape)
    for _ in range(number("I")):  # other names of variables
        alias, name = text(), text()
        content[alias] = content[name]
    if at != len(values):
        raise ValueError("it goes on after its end")
    return content
