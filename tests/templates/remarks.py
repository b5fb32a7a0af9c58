"""Remarks beside a template's path, each with the sentence that explains it."""

from __future__ import annotations

from tests.pack import load

from .sampling import Asked
from .walk import Walk

MOST, DISTILLED, NOISE = "a search gives most here", "distilled", "adds noise"
LEVELS, EXPERTS, LEFT = "levels by hand", "two models", "noise left over"
NESTED, PART, FOREIGN = "two latents in one", "image to image", "foreign scheduler"
DUAL, STAYS = "two models in one guider", "one sampler stays"
MEANING = {
    MOST: "more than 10 steps at a CFG above 1",
    DISTILLED: "4 steps or fewer at CFG 1; the path is there, with little to gain",
    NOISE: "its sampler is stochastic, the solver that takes its place is not",
    LEVELS: "noise levels typed by hand (ManualSigmas) for a distilled model; the preset lays its "
            "own",
    EXPERTS: "one model begins and another ends (high and low noise, base and refiner): Use "
             "Solver for both",
    LEFT: "a sampler hands the rest of the noise to the next one; each takes its part of the "
          "preset's steps",
    NESTED: "video and audio, or shape and camera, are sampled together",
    PART: "denoise below 1; the steps are laid into the part that is asked for",
    DUAL: "positive and negative prompt have a model each: Use Solver for the first",
    FOREIGN: "its scheduler comes from another pack; without that pack choose one of ComfyUI's",
    STAYS: "another sampler in it keeps its own, for the reason given",
}
TWO_LATENTS = frozenset({
    "LTXVConcatAVLatent", "EmptyMiniMaxH3LatentAV", "MiniMaxH3ImageToVideo",
    "MiniMaxH3ReferenceToVideo", "TripoSplatConditioning",
})  # nodes whose LATENT is a NestedTensor
SPLITS = ("SplitSigmas", "SplitSigmasDenoise")


def remarks_on(walk: Walk, node: str, wanted: Asked, name: str) -> frozenset[str]:
    """What is worth knowing of one sampler node that a solver serves.

    Args:
        name: of ComfyUI's plain sampler whose place the solver takes.
    """
    giver = _gives_the_rest(walk, node)
    found = {
        MOST: wanted.roomy,
        NOISE: _adds_noise(wanted.sampler, name),
        LEVELS: wanted.levels == "ManualSigmas",
        EXPERTS: bool(giver) and not _loaders(walk, giver) & _loaders(walk, node),
        LEFT: bool(giver),
        NESTED: any(walk.kind(one) in TWO_LATENTS for one in walk.before(node, "LATENT")),
        PART: wanted.denoise is not None and wanted.denoise < 1,
        DUAL: len(_models(walk, walk.maker(node, "guider"))) > 1,
        FOREIGN: _is_foreign(wanted.scheduler),
    }
    return frozenset(key for key, holds in found.items() if holds)


def _adds_noise(sampler: object, name: str) -> bool:
    """Whether the sampler replaced is stochastic; eta 0 makes some of them not so."""
    if getattr(sampler, "extra_options", {}).get("eta") == 0:
        return False
    return name not in load("nodes.comfy_bridge.ordinary").deterministic_samplers()


def _is_foreign(scheduler: str) -> bool:
    import comfy.samplers

    return bool(scheduler) and scheduler not in comfy.samplers.SCHEDULER_NAMES


def _gives_the_rest(walk: Walk, node: str) -> str:
    """The sampler node that hands a latent with noise left in it to this one, "" if none."""
    giver = walk.maker(node, "latent_image")
    if giver not in walk.samplers():
        return ""
    left = walk.prompt[giver]["inputs"].get("return_with_leftover_noise") == "enable"
    return giver if left or _stops_early(walk, giver) else ""


def _stops_early(walk: Walk, node: str) -> bool:
    """Whether its noise levels are the first half of a split."""
    found, output = walk.origin(node, "sigmas") or ("", 0)
    return bool(found) and walk.kind(found) in SPLITS and output == 0


def _loaders(walk: Walk, node: str) -> set[str]:
    """Where the models of a sampler node begin."""
    return {one for one in walk.before(node, "MODEL", "GUIDER") if not _models(walk, one)}


def _models(walk: Walk, node: str) -> list[str]:
    """Inputs of a node that a model is linked to."""
    names = walk.prompt[node]["inputs"] if node else ()
    return [name for name in names if walk.gives(*(walk.origin(node, name) or ("", 0))) == "MODEL"]
