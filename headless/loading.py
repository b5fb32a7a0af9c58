"""Files to MODEL, CLIP and VAE, prompts to CONDITIONING: by ComfyUI's own nodes."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..nodes.comfy_bridge.memory import is_out_of_memory
from .comfyui import comfy_module, load_pack, node, pack_folders, run_node
from .exits import Exit, Refusal

TEXT_LOADERS = ("CLIPLoader", "DualCLIPLoader", "TripleCLIPLoader", "QuadrupleCLIPLoader")
UNTYPED = TEXT_LOADERS[2:]  # these know what they load
GGUF, GGUF_LOADERS = ".gguf", ("UnetLoaderGGUF", "CLIPLoaderGGUF")
LORAS = "loras"


@dataclass(frozen=True)
class Loaded:
    """What a workflow would have after its loader nodes.

    Args:
        model: MODEL, with its LoRAs and shift.
        clip: CLIP; None where the files hold none.
        vae: VAE; None likewise.
    """

    model: Any
    clip: Any
    vae: Any


def load(options: argparse.Namespace) -> Loaded:
    """Load what is asked for.

    Raises:
        Refusal: in words, also for what ComfyUI's loaders raise.
    """
    with _ForeignCode():
        found = _vae(_text(_diffusion(options), options), options)
        for lora in options.lora:
            found = _with_lora(found, lora)
        return found if options.shift is None else replace(
            found, model=_shifted(found.model, options.shift))


class _ForeignCode:
    """Loaders of ComfyUI and of packs, which raise whatever they like, as refusals."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: object) -> None:
        if not isinstance(error, Exception) or isinstance(error, Refusal):
            return
        if is_out_of_memory(error):
            raise Refusal(Exit.MEMORY, "There is not enough memory to load it: "
                          f"{_first_line(error)}") from error
        raise Refusal(Exit.MODEL, f"ComfyUI could not load it: {_first_line(error)}") from error


def encode(loaded: Loaded, text: str, options: argparse.Namespace) -> list:
    """CONDITIONING of a prompt.

    Raises:
        Refusal: without a text encoder, or if the node refuses the prompt.
    """
    given = {"model": loaded.model, "clip": loaded.clip, "text": text}
    inputs = node(options.encoder).INPUT_TYPES()
    named = {*inputs.get("required", ()), *inputs.get("optional", ())}
    if "clip" in named and loaded.clip is None:
        raise Refusal(Exit.MODEL, "The files hold no text encoder. Name it with --text-encoder "
                      "and --clip-type, or name a node that encodes without one with --encoder.")
    try:
        made, = run_node(options.encoder, **{k: v for k, v in given.items() if k in named})
    except (ValueError, TypeError) as error:
        raise Refusal(Exit.REQUEST, f"{options.encoder} refuses the prompt {text!r}: "
                      f"{_first_line(error)}") from error
    if options.distilled_guidance is None:
        return made
    return run_node("FluxGuidance", conditioning=made, guidance=options.distilled_guidance)[0]


def _diffusion(options: argparse.Namespace) -> Loaded:
    if options.checkpoint:
        name = named("checkpoints", options.checkpoint)
        return Loaded(*run_node("CheckpointLoaderSimple", ckpt_name=name))
    name = named("diffusion_models", options.model)
    if name.lower().endswith(GGUF):
        _need_gguf()
        return Loaded(run_node("UnetLoaderGGUF", unet_name=name)[0], None, None)
    model, = run_node("UNETLoader", unet_name=name, weight_dtype=options.weight_dtype)
    return Loaded(model, None, None)


def _text(found: Loaded, options: argparse.Namespace) -> Loaded:
    files = options.text_encoder
    if not files:
        return found
    if len(files) > len(TEXT_LOADERS):
        raise Refusal(Exit.REQUEST, f"ComfyUI loads at most {len(TEXT_LOADERS)} text encoders "
                      f"together, found {len(files)}.")
    kind = TEXT_LOADERS[len(files) - 1]
    typed = {} if kind in UNTYPED else {"type": options.clip_type}
    if typed:
        _check_type(kind, options.clip_type)
    if any(file.lower().endswith(GGUF) for file in files):
        _need_gguf()
        kind += "GGUF"
    names = [named("text_encoders", file) for file in files]
    keys = ["clip_name"] if len(names) == 1 else [f"clip_name{i + 1}" for i in range(len(names))]
    clip, = run_node(kind, **dict(zip(keys, names, strict=True)), **typed)
    return replace(found, clip=clip)


def _check_type(kind: str, given: str) -> None:
    known = node(kind).INPUT_TYPES()["required"]["type"][0]
    if given not in known:
        raise Refusal(Exit.REQUEST, f"--clip-type must say what the text encoders are for: one of "
                      f"{', '.join(known)}, found {given!r}.")


def _vae(found: Loaded, options: argparse.Namespace) -> Loaded:
    if not options.vae:
        return found
    name = options.vae if options.vae == "pixel_space" else named("vae", options.vae)
    return replace(found, vae=run_node("VAELoader", vae_name=name)[0])


def _with_lora(found: Loaded, given: str) -> Loaded:
    file, _, number = given.rpartition(":")
    try:
        file, strength = (file, float(number)) if file else (given, 1.0)
    except ValueError:
        file, strength = given, 1.0
    name = named(LORAS, file)
    if found.clip is None:
        model, = run_node("LoraLoaderModelOnly", model=found.model, lora_name=name,
                          strength_model=strength)
        return replace(found, model=model)
    model, clip = run_node("LoraLoader", model=found.model, clip=found.clip, lora_name=name,
                           strength_model=strength, strength_clip=strength)
    return replace(found, model=model, clip=clip)


def _shifted(model: Any, shift: float) -> Any:  # noqa: ANN401  comfy's own type
    """The model at another shift, by the node that people use for its family."""
    sampling = comfy_module("comfy.model_sampling")
    own = model.get_model_object("model_sampling")
    if not isinstance(own, sampling.CONST):
        raise Refusal(Exit.REQUEST, "--shift is for flow models; this one predicts noise. Leave "
                      "it out.")
    if isinstance(own, sampling.ModelSamplingFlux):
        return run_node("ModelSamplingFlux", model=model, max_shift=shift, base_shift=shift,
                        width=1024, height=1024)[0]
    kind = "ModelSamplingAuraFlow" if getattr(own, "multiplier", 1000) == 1.0 else (
        "ModelSamplingSD3")
    return run_node(kind, model=model, shift=shift)[0]


def named(kind: str, given: str) -> str:
    """A file as ComfyUI's loaders name it: its folder becomes one of ComfyUI's for this kind.

    Raises:
        Refusal: if there is no such file.
    """
    folders, path = comfy_module("folder_paths"), Path(given).expanduser()
    if path.is_file():
        folders.add_model_folder_path(kind, str(path.resolve().parent), is_default=True)
        return path.name
    if folders.get_full_path(kind, given) is None:
        raise Refusal(Exit.REQUEST, f"There is no file {given}, neither from here nor in "
                      f"ComfyUI's folders for {kind}.")
    return given


def _need_gguf() -> None:
    mappings = comfy_module("nodes").NODE_CLASS_MAPPINGS
    for pack in pack_folders():
        if GGUF_LOADERS[0] not in mappings and "gguf" in pack.name.lower():
            load_pack(str(pack))
    if GGUF_LOADERS[0] not in mappings:
        raise Refusal(Exit.MODEL, "A .gguf file needs the pack ComfyUI-GGUF in custom_nodes; it "
                      "is not there. Install it, or use a .safetensors file.")


def _first_line(error: BaseException) -> str:
    said = str(error).strip().split("\n")[0]
    return said or type(error).__name__
