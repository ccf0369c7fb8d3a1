"""ASVspoof 5, track 1: crowdsourced speech, deepfakes and adversarial attacks (Wang et al., ASVspoof workshop 2024)."""

from __future__ import annotations

from deepfake.datasets.layout import base_of, with_paths
from deepfake.datasets.protocol import LAYOUTS, complete, read_protocol
from deepfake.datasets.utterance import Utterance

PROTOCOLS = {
    "train": "ASVspoof5.train.tsv",
    "dev": "ASVspoof5.dev.track_1.tsv",
    "eval": "ASVspoof5.eval.track_1.tsv",
}
FOLDERS = {"train": "flac_T", "dev": "flac_D", "eval": "flac_E_eval"}
TRIALS = {"train": (18797, 163560), "dev": (31334, 109616), "eval": (138688, 542086)}  # bona fide, spoof


def utterances(partition: str, *, root: str) -> list[Utterance]:
    """Read one partition of track 1, driven by its protocol.

    Conditions are `gender`, `codec`, `codec_quality` and `attack_tag`.

    Args:
        partition: `train`, `dev` or `eval`.
        root: The folder that the archives were unpacked in: `flac_T`, `flac_D`, `flac_E_eval`, and the protocols there
            or in `ASVspoof5_protocols`.

    Raises:
        InputError: Root or protocol is missing, a line has not ten columns, a key is unknown.
    """
    name = PROTOCOLS[partition]
    given = "the folder that holds flac_T, flac_D, flac_E_eval and what ASVspoof5_protocols.tar.gz unpacked to"
    base = base_of(root, FOLDERS.values(), unpacks=given)
    protocol = base_of(root, [name], inside=["ASVspoof5_protocols"], unpacks=given) / name
    listed = complete(read_protocol(protocol, LAYOUTS["asvspoof5"]), TRIALS[partition], "asvspoof5", partition)
    return with_paths(listed, base / FOLDERS[partition], ".flac", partition)
