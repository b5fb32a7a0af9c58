"""Features of pictures, and the Frechet distance between two sets of them.

The features are the last hidden layer of a small convolutional network that tells the demo
pictures' subjects and styles apart. `python -m benchmarks.features` trains it anew (about two
minutes) and writes `checkpoints/features.safetensors`.
"""

from __future__ import annotations

import logging
from functools import cache
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from scipy.linalg import sqrtm
from torch import Tensor, nn

from demo.comfy_nodes.words import STYLES, SUBJECTS
from demo.pictures import crop, load_regions, paint
from demo.prompts import HELD_OUT_PROMPTS, PROMPTS

FILE = Path(__file__).parent / "checkpoints" / "features.safetensors"
DIMENSIONS = 16  # principal components: 256 pictures estimate their covariance well
DATA = 2048
STEPS, BATCH, RATE = 600, 64, 2e-3
log = logging.getLogger("benchmarks")


class Classifier(nn.Module):
    """(B, 3, 64, 64) in [0, 1] -> logits of subjects and of styles; `features` is (B, 64)."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 24, 32, 48, 64)
        self.body = nn.Sequential(*[
            layer for a, b in zip(widths, widths[1:], strict=False)
            for layer in (nn.Conv2d(a, b, 3, 2, 1), nn.GroupNorm(8, b), nn.SiLU())])
        self.head = nn.Linear(64, len(SUBJECTS) + len(STYLES))

    def features(self, pictures: Tensor) -> Tensor:
        """(B, 64) mean over the last 4x4 map."""
        return self.body(2 * pictures - 1).mean((2, 3))

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (B, subjects) and (B, styles)."""
        logits = self.head(self.features(pictures))
        return logits[:, : len(SUBJECTS)], logits[:, len(SUBJECTS):]


@cache
def classifier() -> Classifier:
    """The trained network."""
    model = Classifier()
    model.load_state_dict({k: v.float() for k, v in load_file(FILE).items()})
    return model.eval()


@torch.no_grad()
def features_of(pictures: Tensor) -> Tensor:
    """(B, 64) float64 features of (B, 3, 64, 64) pictures in [0, 1]."""
    return classifier().features(pictures.float()).double()


@cache
def data_features() -> Tensor:
    """(2048, 64) features of training pictures with the held-out prompts' subjects and styles."""
    generator = torch.Generator().manual_seed(7)
    pairs = torch.tensor([divmod(PROMPTS.index(p), len(STYLES)) for p in HELD_OUT_PROMPTS])
    subjects, styles = pairs[torch.arange(DATA) % len(pairs)].T
    parts = zip(subjects.split(256), styles.split(256), strict=True)
    regions = load_regions()
    return torch.cat([features_of(paint(crop(regions[a], generator), b)) for a, b in parts])


def frechet(a: Tensor, b: Tensor) -> float:
    """Frechet distance (Heusel et al. 2017, eq. 6) of two sets in b's principal components.

    Args:
        a, b: (S, F) features.

    Returns:
        |mean difference|^2 + trace(Ca + Cb - 2 (Ca Cb)^(1/2)), features in units of b's overall
        standard deviation.
    """
    mean = b.mean(0)
    _, sizes, axes = torch.linalg.svd(b - mean, full_matrices=False)
    axes = axes[:DIMENSIONS].T / (sizes.square().sum() / len(b)).sqrt()
    a, b = (a - mean) @ axes, (b - mean) @ axes
    ca, cb = torch.cov(a.T), torch.cov(b.T)
    root = torch.from_numpy(sqrtm((ca @ cb).numpy()).real)
    return float((a.mean(0) - b.mean(0)).square().sum() + (ca + cb - 2 * root).trace())


def train() -> None:
    """Train the classifier and write its file."""
    torch.manual_seed(0)
    model, regions = Classifier(), load_regions()
    generator = torch.Generator().manual_seed(1)
    optimiser = torch.optim.AdamW(model.parameters(), RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, STEPS)
    for step in range(1, STEPS + 1):
        subjects, styles = (torch.randint(len(names), (BATCH,), generator=generator)
                            for names in (SUBJECTS, STYLES))
        pictures = paint(crop(regions[subjects], generator), styles)
        noisy = pictures + 0.03 * torch.randn(pictures.shape, generator=generator)
        one, other = model(noisy)
        loss = F.cross_entropy(one, subjects) + F.cross_entropy(other, styles)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if step % 100 == 0:
            right = ((one.argmax(1) == subjects) & (other.argmax(1) == styles)).float().mean()
            log.warning("step %d: loss %.4f, both right %.2f", step, loss.item(), right)
    FILE.parent.mkdir(exist_ok=True)
    save_file({k: v.half().contiguous() for k, v in model.state_dict().items()}, FILE)


if __name__ == "__main__":
    train()
