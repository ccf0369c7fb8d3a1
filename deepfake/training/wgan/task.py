"""LightningModule of a Wasserstein GAN with gradient penalty."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from itertools import chain
from statistics import fmean
from typing import Any, ClassVar

import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import get_total_norm, parameters_to_vector, vector_to_parameters

from deepfake.datasets.utterance import BONAFIDE, SPOOF
from deepfake.detector import Detector
from deepfake.errors import InputError
from deepfake.models.blocks.generator import Generator
from deepfake.models.wgan_gp_critic import WGANGPCritic
from deepfake.training.repeatable import Repeatable
from deepfake.training.setup import Setup, checkpoint_of
from deepfake.training.wgan.divergence_guard import ADVICE, DivergenceGuard
from deepfake.training.wgan.gradient_penalty import gradient_norms
from deepfake.training.wgan.report import finish_wgan

REAL_CLASSES = {"spoof": (SPOOF,), "bonafide": (BONAFIDE,), "all": (SPOOF, BONAFIDE)}


class WGANGP(Repeatable):
    """A critic learns to separate features of one class of speech from a generator's (Gulrajani et al., 2017).

    The critic is then the starting point of a detector (`init_from`). Each batch is one step of the critic, every
    `n_critic`-th also one of the generator. Both networks work on the scale of the front end's features, which are best
    normalised by statistics of the training partition.

    Under DDP the gradients are averaged here, not by its reducer, which waits for a gradient of every parameter: a step
    of one network has none for the other, and the inner gradient of the penalty is not one of the parameters.

    Args:
        detector: Detector with the front end, and with the critic as its model.
        seconds: Length of the clips.
        seed: Seed of noise, interpolation and dropout, see `Repeatable`.
        real_class: `spoof`, `bonafide` or `all`: the training utterances that the generator imitates.
        n_critic: Steps of the critic to one of the generator.
        gp_weight: Weight of the gradient penalty.
        critic_lr: Adam's learning rate for the critic.
        generator_lr: Adam's learning rate for the generator.
        betas: Adam's betas for both networks.
        noise_dim: Dimensions of the generator's noise.
        generator_channels: Channels of the generator, see `Generator`.
        generator_attention_rows: Rows at which the generator has self-attention, see `Generator`.
        limit: Largest magnitude of the Wasserstein estimate and the gradient norm, see `DivergenceGuard`.
        patience: Consecutive steps beyond the limit after which training is stopped.

    Raises:
        InputError: A model other than the critic, a bounded head, or a setting out of range.
    """

    supervised = False  # one class is enough, and dev is not used
    monitored = ()
    progress_metrics: ClassVar = {
        "Wasserstein": "train/wasserstein_epoch", "gradient norm": "train/gradient_norm_epoch",
    }  # fmt: skip

    def __init__(
        self,
        detector: Detector,
        *,
        seconds: float,
        seed: int,
        real_class: str = "spoof",
        n_critic: int = 5,
        gp_weight: float = 10.0,
        critic_lr: float = 1e-4,
        generator_lr: float = 1e-4,
        betas: Sequence[float] = (0.0, 0.9),
        noise_dim: int = 128,
        generator_channels: Sequence[int] = (96, 64, 32, 16),
        generator_attention_rows: int | None = 16,
        limit: float = 1000.0,
        patience: int = 20,
    ) -> None:
        super().__init__(detector, seed)
        self.automatic_optimization = False
        if not isinstance(detector.model, WGANGPCritic) or detector.model.head.kind != "linear":
            got = f"{type(detector.model).__name__} with head={detector.config['model'].get('head', 'linear')}"
            raise InputError(f"task=wgan_gp, {got}: model=wgan_gp_critic with model.head=linear was expected")
        if real_class not in REAL_CLASSES:
            raise InputError(f"task.real_class={real_class}: one of {', '.join(REAL_CLASSES)} was expected")
        if n_critic < 1 or min(critic_lr, generator_lr) <= 0 or gp_weight < 0:
            raise InputError(
                f"task.n_critic={n_critic}, critic_lr={critic_lr}, generator_lr={generator_lr}, gp_weight={gp_weight}: "
                "at least 1, two rates above 0 and a weight from 0 were expected"
            )
        if len(betas) != 2 or not all(0 <= beta < 1 for beta in betas):
            raise InputError(f"task.betas={list(betas)}: two numbers from 0 to below 1 were expected")
        detector.config["kind"] = "critic"  # so that its output is not mistaken for a score
        with torch.no_grad():
            silence = torch.zeros(1, round(seconds * detector.sample_rate))
            n_bands, n_frames = detector.features.extract(silence).shape[1:]  # type: ignore[operator]
        shape = {"noise_dim": noise_dim, "n_bands": n_bands, "n_frames": n_frames}
        self.generator = Generator(**shape, channels=generator_channels, attention_rows=generator_attention_rows)
        self.noise_dim = noise_dim
        self.real_class = real_class
        self.history: list[dict[str, float]] = []
        self._n_critic = n_critic
        self._gp_weight = gp_weight
        self._rates = critic_lr, generator_lr
        self._betas = (float(betas[0]), float(betas[1]))
        self._guard = DivergenceGuard(("wasserstein", "gradient_norm"), limit, patience)
        self._epoch: list[dict[str, float]] = []

    def fit(self, setup: Setup) -> dict[str, Any] | None:
        """Train both networks and write the report, see `finish_wgan`."""
        warnings.filterwarnings("ignore", message=".*have no `validation_step`")
        setup.trainer.fit(self, setup.datamodule, ckpt_path=checkpoint_of(setup.config), weights_only=True)
        return finish_wgan(setup, self) if setup.trainer.is_global_zero else None

    def setup(self, stage: str) -> None:
        """Keep the utterances of one class in the training partition, before its loader is made."""
        datamodule: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        if datamodule.batch_seconds is not None:
            raise InputError(
                "task=wgan_gp with batch_seconds: clips of one length were expected, as its generator makes them: "
                "leave batch_seconds out"
            )
        datamodule.train = [u for u in datamodule.train if u.label in REAL_CLASSES[self.real_class]]
        if not datamodule.train:
            raise InputError(
                f"{datamodule.corpus.name}, partition train: no utterance is of task.real_class={self.real_class}"
            )

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        networks = zip((self.detector.model, self.generator), self._rates, strict=True)
        return [torch.optim.Adam(network.parameters(), lr=lr, betas=self._betas) for network, lr in networks]

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        of_critic, of_generator = self.optimizers()  # type: ignore[misc]
        with torch.no_grad():
            real = self.detector.features(batch["waveform"])  # [B, C, L]
        self._step(of_critic, self.detector.model, self.critic_figures(real))
        n_before = self.current_epoch * int(self.trainer.num_training_batches) + batch_idx
        if (n_before + 1) % self._n_critic == 0:
            self._step(of_generator, self.generator, self.generator_figures(len(real)))
        if self.trainer.is_last_batch:
            self._require_finite_weights()

    def critic_figures(self, real: Tensor) -> dict[str, Tensor]:
        """The critic's loss and its terms.

        Args:
            real: Real features `[B, C, L]`.

        Returns:
            `critic_loss` \\(= -W + \\lambda P\\), the estimate W of the Wasserstein distance as `wasserstein`, the mean
            `gradient_norm` between real and generated features, and its `penalty` P, all scalars.
        """
        with torch.no_grad():
            fake = self.generator(self.noise(len(real))).to(real.dtype)  # [B, C, L]
        epsilon = torch.rand(len(real), device=real.device)
        of_real, of_fake = _whole(self.detector.model(torch.cat([real, fake]))).chunk(2)
        wasserstein = of_real.mean() - of_fake.mean()
        norms = gradient_norms(self.detector.model, real, fake, epsilon)
        penalty = (norms - 1).square().mean()
        loss = self._gp_weight * penalty - wasserstein
        return {"critic_loss": loss, "wasserstein": wasserstein, "gradient_norm": norms.mean(), "penalty": penalty}

    def generator_figures(self, n: int) -> dict[str, Tensor]:
        """The generator's loss on `n` samples, as `generator_loss`."""
        return {"generator_loss": -_whole(self.detector.model(self.generator(self.noise(n)))).mean()}

    def noise(self, n: int) -> Tensor:
        """`[n, noise_dim]`, normally distributed."""
        return torch.randn(n, self.noise_dim, device=self.device, dtype=self.generator.dense.weight.dtype)

    def _step(self, optimizer: LightningOptimizer, network: nn.Module, figures: dict[str, Tensor]) -> None:
        """One optimiser step of one network on the first of the figures, if all of them pass the guard."""
        name, loss = next(iter(figures.items()))
        parameters = list(network.parameters())
        optimizer.zero_grad()
        model = self.trainer.strategy.model
        alone = model.no_sync() if isinstance(model, DistributedDataParallel) else nullcontext()
        with alone, torch.autocast(self.device.type, enabled=False):
            self.manual_backward(loss, inputs=parameters)
        gradients = [p.grad for p in parameters if p.grad is not None]
        if self.trainer.world_size > 1:
            mean = self.trainer.strategy.reduce(parameters_to_vector(gradients), reduce_op="mean")
            vector_to_parameters(mean, gradients)  # type: ignore[arg-type]
        checked = {key: value.detach() for key, value in figures.items()}
        if getattr(self.trainer.precision_plugin, "scaler", None) is None:  # a scaler skips such a step itself
            checked[f"gradient of the {name}"] = get_total_norm(gradients)
        # the mean over the processes: all of them stop, or none
        means = self.trainer.strategy.reduce(torch.stack(list(checked.values())), reduce_op="mean").tolist()
        self._guard.check(dict(zip(checked, means, strict=True)), self.current_epoch)
        optimizer.step()
        step = dict(zip(figures, means, strict=False))
        self._epoch.append(step)
        self.log_dict({f"train/{key}": value for key, value in step.items()}, on_step=True, on_epoch=False)
        epoch = {f"train/{key}_epoch": value for key, value in step.items()}
        self.log_dict(epoch, on_step=False, on_epoch=True, logger=False, batch_size=1)

    def _require_finite_weights(self) -> None:
        """Check the weights before they are saved: a huge learning rate overflows them in a single step."""
        for name, value in self.state_dict().items():
            if not value.isfinite().all():
                raise InputError(f"{name} is no longer finite after epoch {self.current_epoch}: {ADVICE}")

    def on_train_epoch_end(self) -> None:
        keys = dict.fromkeys(chain.from_iterable(self._epoch))
        means = {key: fmean(step[key] for step in self._epoch if key in step) for key in keys}
        self._epoch.clear()
        self.history.append({"epoch": self.current_epoch, **means})

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["history"] = self.history

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.history = checkpoint["history"]


def _whole(values: Tensor) -> Tensor:
    """In float32 at least, also where autocast used half precision."""
    return values.to(torch.promote_types(values.dtype, torch.float32))
