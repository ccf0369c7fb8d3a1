"""Plots of each augmentation of a recording: `python experiments/augmentation/pictures.py FILE --output DIR`."""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from matplotlib.figure import Figure
from omegaconf import OmegaConf
from torch import Tensor

from deepfake.audio import crop_or_repeat, load
from deepfake.figures.html import TEMPLATES, pictures, write_page
from deepfake.figures.style import CURVE, figure_of

RATE = 16_000
CONFIGS = Path(__file__).resolve().parents[2] / "conf/augment"
VARIANTS: dict[str, list[dict[str, Any]]] = {  # where one draw would not show what there is
    "noise": [{"colours": [colour], "snr_min": 10, "snr_max": 10} for colour in ("white", "pink", "brown", "babble")],
    "rawboost": [{"algo": algo} for algo in range(1, 9)],
    "codec": [
        *({"codecs": [name]} for name in ("mulaw", "alaw", "g722")),
        *({"codecs": [name], "kbps": [kbps]} for name in ("mp3", "opus", "aac") for kbps in (16, 64)),
    ],
    "band_limit": [{"telephone": 0.0}, {"telephone": 1.0}],
    "mixup": [{"alpha": 4.0}],
}
PAGE = """
{% extends "figures/page.html" %}
{% from "figures/parts.html" import figure %}
{% block headline %}before and after{% endblock %}
{% block body %}
<p>{{ file }}, its first four seconds; draws of seed {{ seed }}.</p>
{% for augmentation, figures in captions.items() %}
<h2>{{ augmentation }}</h2>
{% for name, caption in figures.items() %}
{{ figure(drawn, name, caption) }}
{% endfor %}
{% endfor %}
{% endblock %}
"""


def augmented(name: str, keywords: dict[str, Any], clip: Tensor, seed: int) -> Tensor:
    """The clip after the augmentation of that yaml, `[T]` -> `[T]`; mixup's partner is the clip backwards."""
    config = OmegaConf.merge({"sample_rate": RATE}, {"augment": OmegaConf.load(CONFIGS / f"{name}.yaml")})
    augment = instantiate(config.augment, _convert_="all", **{**keywords, "p": 1.0})
    if not augment.batched:
        return augment(clip, np.random.default_rng(seed))
    rngs = [np.random.default_rng([seed, i]) for i in range(2)]
    return augment(torch.stack([clip, clip.flip(0)]), torch.tensor([1, 0]), rngs)[0][0]


def before_and_after(before: Tensor, after: Tensor) -> Figure:
    """Waveform above spectrogram, the original clip beside the augmented one."""
    figure = figure_of(6.4, 3.6)
    figure.set_dpi(110)
    peak = max(before.abs().max().item(), after.abs().max().item(), 1e-6)
    for column, (name, clip) in enumerate({"before": before, "after": after}.items()):
        seconds = len(clip) / RATE
        above = figure.add_subplot(2, 2, 1 + column)
        above.plot(np.arange(len(clip)) / RATE, clip.numpy(), color=CURVE, linewidth=0.4)
        above.set(xlim=(0, seconds), ylim=(-1.05 * peak, 1.05 * peak), title=name)
        below = figure.add_subplot(2, 2, 3 + column)
        power = torch.stft(
            clip, 512, 128, window=torch.hann_window(512), pad_mode="constant", return_complex=True
        ).abs().square()  # fmt: skip
        below.imshow(
            (10 * power.clamp(min=1e-10).log10()).numpy(),
            origin="lower", aspect="auto", extent=(0, seconds, 0, RATE / 2000),
            cmap="magma", vmin=-50, vmax=30, interpolation="nearest",
        )  # fmt: skip
        below.set(xlabel="seconds", ylabel="kHz" if column == 0 else "")
        for axes in (above, below):
            axes.tick_params(labelsize=8)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path, help="a recording of speech")
    parser.add_argument("--output", type=Path, required=True, help="folder of the page and its pictures")
    parser.add_argument("--seed", type=int, default=0, help="random seed")
    arguments = parser.parse_args()
    clip = crop_or_repeat(load(arguments.file, sample_rate=RATE, seconds=4.0), 4 * RATE)
    arguments.output.mkdir(parents=True, exist_ok=True)
    captions, drawn = {}, {}
    for name in sorted(path.stem for path in CONFIGS.glob("*.yaml")):
        figures = {}
        captions[name] = {}
        for keywords in VARIANTS.get(name, [{}]):
            overrides = [f"augment=[{name}]"]
            overrides += [f"augment.{name}.{key}={_plain(value)}" for key, value in keywords.items()]
            after = augmented(name, keywords, clip, arguments.seed)
            figure = "_".join([name, *map(_plain, keywords.values())])
            figures[figure] = partial(before_and_after, clip, after)
            captions[name][figure] = " ".join(overrides)
        drawn |= pictures(arguments.output, figures)
    write_page(
        arguments.output / "index.html",
        TEMPLATES.from_string(PAGE),
        title="What each augmentation does",
        provenance={},
        file=arguments.file.name,
        seed=arguments.seed,
        captions=captions,
        drawn=drawn,
    )
    print(arguments.output / "index.html")


def _plain(value: Any) -> str:
    return f"[{','.join(map(str, value))}]" if isinstance(value, list) else str(value)


if __name__ == "__main__":
    try:
        main()
    except InstantiationException as error:  # of what is not installed
        sys.exit(f"error: {error.__cause__}")
