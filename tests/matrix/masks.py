"""Ways of sampling with a noise mask: hard and soft, whole and in part, alone and in batches."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .families import Subject
from .media import Latent, each, side_by_side
from .searched import SEED
from .ways import Run, Way, half_mask, ksampler, picture, two_passes
from .who import Who

Mask = Callable[[Subject], Latent]  # (B, 1, ...) for each medium, 0 where a picture is kept


def along(levels: Callable[[Tensor], Tensor]) -> Mask:
    """(1, 1, ...) the same at every height and frame; `levels` are over the width, 0 to 1."""
    def mask(subject: Subject) -> Latent:
        return each(subject.latent, lambda latent: levels(
            torch.linspace(0, 1, latent.shape[-1])).expand(1, 1, *latent.shape[2:]).clone())
    return mask


RAMP = along(lambda at: at)
SOFT = along(lambda at: torch.where(at < 0.25, 0.0, torch.where(at < 0.5, 0.5, 2 * at - 1)))
RIGHT = along(lambda at: (at > 0.5).float())


def three(subject: Subject) -> Latent:
    """(3, 1, ...) another mask for each picture of a batch."""
    return side_by_side([mask(subject) for mask in (RAMP, SOFT, RIGHT)])


def two_of_three(subject: Subject) -> Latent:
    """(2, 1, ...) those that LatentFromBatch leaves."""
    return each(three(subject), lambda masks: masks[1:])


def painted(mask: Mask, pictures: int = 1, **more: float) -> Run:
    """KSampler on copies of a picture, what is outside the mask kept."""
    def run(subject: Subject, who: Who) -> Latent:
        latent = {"samples": side_by_side([picture(subject)] * pictures),
                  "noise_mask": mask(subject)}
        return ksampler(subject, who, latent=latent, **more)
    return run


def twice(subject: Subject, who: Who) -> Latent:
    """The whole way two times with one mask, the second time with another seed."""
    once = painted(SOFT)(subject, who)
    return ksampler(subject, who, seed=SEED + 1,
                    latent={"samples": once, "noise_mask": SOFT(subject)})


def in_two_passes(subject: Subject, who: Who) -> Latent:
    """KSampler (Advanced) in two passes. The second keeps what the first left: not the picture."""
    return two_passes(subject, who, samples=picture(subject), noise_mask=SOFT(subject))


def from_a_batch(subject: Subject, who: Who) -> Latent:
    """Two of three pictures with their masks and their own noise: LatentFromBatch."""
    import nodes

    latent = {"samples": side_by_side([picture(subject)] * 3), "noise_mask": three(subject)}
    return ksampler(subject, who, latent=nodes.LatentFromBatch().frombatch(latent, 1, 2)[0])


MASK_WAYS: dict[str, Way] = {
    "mask at denoise 0.5": Way(painted(half_mask, denoise=0.5), mask=half_mask),
    "mask, two passes in a row": Way(twice, mask=SOFT),
    "mask, KSampler Advanced, two passes": Way(in_two_passes),
    "soft mask": Way(painted(SOFT), mask=SOFT),
    "one mask, batch of 3": Way(painted(half_mask, 3), mask=half_mask),
    "a mask for each of a batch of 3": Way(painted(three, 3), mask=three),
    "masks of a latent from a batch": Way(from_a_batch, mask=two_of_three),
}
