"""Small random models of real families: ComfyUI's own classes with fewer and narrower layers.

Latent formats, conditioning and noise schedules are the families' own. Those with a checkpoint
below 5 MB come through ComfyUI's loader (demo/tiny.py); the others would have a width that the
loader reads from the file fixed at hundreds of megabytes, so their configuration is written here.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from demo.tiny import CHANNELS, CONTEXT, POOLED, write_tiny

from .media import Latent, nested

WIDTH = 32
TOKENS = 6
GAIN = 0.5  # of all layers: states stay of a size that float32 adds well
UNET = {
    "image_size": 32, "in_channels": 4, "out_channels": 4, "model_channels": 64,
    "num_res_blocks": [1, 1], "channel_mult": [1, 2], "transformer_depth": [1, 1],
    "transformer_depth_output": [1, 1, 1, 1], "transformer_depth_middle": 1,
    "num_head_channels": 64, "use_spatial_transformer": True, "context_dim": WIDTH,
    "use_linear_in_transformer": False, "legacy": False, "use_temporal_attention": False,
    "adm_in_channels": None,
}
FLUX_KIN = {
    "in_channels": 16, "out_channels": 16, "context_in_dim": WIDTH, "hidden_size": 128,
    "mlp_ratio": 2.0, "num_heads": 1, "depth": 1, "depth_single_blocks": 1,
    "axes_dim": [16, 56, 56], "theta": 10000, "patch_size": 2, "qkv_bias": True,
    "txt_ids_dims": [],
}


@dataclass(frozen=True)
class Subject:
    """A model with what it needs to be sampled.

    Args:
        model: ComfyUI's ModelPatcher.
        positive, negative: CONDITIONING.
        latent: (1, C, ...) empty latent, or a nest of several media.
    """

    model: Any
    positive: list
    negative: list
    latent: Latent


@dataclass(frozen=True)
class Family:
    """One row of the table.

    Args:
        kind: prediction and latents, in words.
        build: makes a Subject.
    """

    kind: str
    build: Callable[[], Subject]


def words(width: int = WIDTH, seed: int = 0, **more: Any) -> list:  # noqa: ANN401
    """CONDITIONING of random numbers."""
    generator = torch.Generator().manual_seed(seed)
    made = torch.randn(1, TOKENS, width, generator=generator)
    return [[made, {name: _random(shape, generator) for name, shape in more.items()}]]


def other_words(subject: Subject) -> list:
    """A second prompt of the same shape."""
    tensor, about = subject.positive[0]
    return [[tensor.flip(-1).contiguous(), dict(about)]]


def _random(shape: Any, generator: torch.Generator) -> Any:  # noqa: ANN401
    return torch.randn(shape, generator=generator) if isinstance(shape, tuple) else shape


def _subject(model: Any, latent: tuple[int, ...], width: int = WIDTH,  # noqa: ANN401
             **more: Any) -> Subject:  # noqa: ANN401
    return Subject(model, words(width, 1, **more), words(width, 2, **more),
                   torch.zeros(1, *latent))


def _file(name: str, latent: tuple[int, ...]) -> Subject:
    from comfy.sd import load_checkpoint_guess_config

    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        path = write_tiny(name, Path(folder))
        model = load_checkpoint_guess_config(str(path), output_vae=False, output_clip=False)[0]
    return _subject(model, latent, CONTEXT, pooled_output=(1, POOLED))


def made(name: str, config: dict[str, Any], keys: dict[str, Tensor] | None = None, *,
         gain: float = GAIN, dtype: torch.dtype = torch.float32) -> Any:  # noqa: ANN401
    """ModelPatcher of a family of comfy.supported_models with another configuration.

    Args:
        config: for the network's constructor.
        keys: what ComfyUI looks for in a checkpoint to tell variants apart.
        gain: size of all weights.
        dtype: of the stored weights; other than float32 they are cast for each use.
    """
    import comfy.supported_models as supported
    from comfy.model_patcher import ModelPatcher

    settings = getattr(supported, name)(config)
    settings.set_inference_dtype(dtype, None if dtype == torch.float32 else torch.float32)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = settings.get_model(keys or {}, "")
        initialise(model.diffusion_model, gain)
    cpu = torch.device("cpu")
    return ModelPatcher(model, load_device=cpu, offload_device=cpu)


@torch.no_grad()
def initialise(network: nn.Module, gain: float) -> None:
    """Random weights (ComfyUI's layers come empty), small enough to keep states finite."""
    for name, value in network.named_parameters():
        if value.ndim > 1:
            fan = value[0].numel()
            value.copy_(torch.randn(value.shape) * gain * fan**-0.5)
        else:
            value.fill_(1.0 if "norm" in name and name.endswith("weight") else 0.01)
    for value in network.buffers():
        if value.is_floating_point():
            torch.nan_to_num_(value)


def sd15(channels: int = 4, dtype: torch.dtype = torch.float32) -> Subject:
    return _subject(made("SD15", {**UNET, "in_channels": channels}, dtype=dtype), (4, 8, 8))


def _sd20_v() -> Subject:
    key = "output_blocks.11.1.transformer_blocks.0.norm1.bias"
    model = made("SD20", {**UNET, "use_linear_in_transformer": True},
                 {key: torch.tensor([-1.0, 1.0])})
    return _subject(model, (4, 8, 8))


def _sdxl(keys: dict[str, Tensor] | None = None) -> Subject:
    model = made("SDXL", {**UNET, "adm_in_channels": 2816, "num_classes": "sequential"}, keys)
    return _subject(model, (4, 8, 8), pooled_output=(1, 1280))


def _playground() -> Subject:
    return _sdxl({"edm_mean": torch.zeros(1, 4, 1, 1), "edm_std": torch.ones(1, 4, 1, 1)})


def _chroma() -> Subject:
    model = made("Chroma", {**FLUX_KIN, "image_model": "chroma", "in_channels": 64,
                            "out_channels": 64, "in_dim": 64, "out_dim": 128,
                            "hidden_dim": 64, "n_layers": 1, "vec_in_dim": None})
    return _subject(model, (16, 8, 8))


def _aura() -> Subject:
    model = made("AuraFlow", {"cond_seq_dim": WIDTH, "dim": 64, "n_layers": 2,
                              "n_double_layers": 1, "n_heads": 2, "global_conddim": 64,
                              "max_seq": 256, "in_channels": 4, "out_channels": 4})
    return _subject(model, (4, 8, 8))


def _lumina(name: str, **more: Any) -> Subject:  # noqa: ANN401
    model = made(name, {"image_model": "lumina2", "patch_size": 2, "in_channels": 16, "dim": 96,
                        "cap_feat_dim": WIDTH, "n_layers": 1, "n_refiner_layers": 1,
                        "qk_norm": True, "n_heads": 1, "n_kv_heads": 1,
                        "axes_dims": [32, 32, 32], "axes_lens": [300, 512, 512], **more})
    return _subject(model, (16, 8, 8))


def _qwen() -> Subject:
    model = made("QwenImage", {"image_model": "qwen_image", "num_layers": 1,
                               "attention_head_dim": 128, "num_attention_heads": 1,
                               "joint_attention_dim": WIDTH})
    return _subject(model, (16, 1, 8, 8))


def _pixart() -> Subject:
    model = made("PixArtSigma", {"image_model": "pixart_sigma", "input_size": 64, "depth": 1,
                                 "hidden_size": 64, "num_heads": 2, "caption_channels": WIDTH,
                                 "micro_condition": False, "pe_interpolation": 2,
                                 "model_max_length": TOKENS})
    return _subject(model, (4, 40, 40))


def _hunyuan_dit() -> Subject:
    clip, t5 = (TOKENS, WIDTH), (2 * TOKENS, 2 * WIDTH)
    model = made("HunyuanDiT", {"image_model": "hydit", "depth": 2, "hidden_size": 64,
                                "num_heads": 2, "mlp_ratio": 2.0, "size_cond": False,
                                "use_style_cond": False, "text_len": clip[0],
                                "text_states_dim": clip[1], "text_len_t5": t5[0],
                                "text_states_dim_t5": t5[1]})
    prompts = [words(WIDTH, seed, conditioning_mt5xl=(1, *t5),
                     attention_mask=torch.ones(1, clip[0]),
                     attention_mask_mt5xl=torch.ones(1, t5[0])) for seed in (1, 2)]
    return Subject(model, *prompts, torch.zeros(1, 4, 16, 16))


def _hunyuan_video() -> Subject:
    kin = {name: value for name, value in FLUX_KIN.items() if name != "txt_ids_dims"}
    model = made("HunyuanVideo", {**kin, "image_model": "hunyuan_video", "vec_in_dim": 16,
                                  "patch_size": [1, 2, 2], "guidance_embed": True, "byt5": False,
                                  "meanflow": False, "use_cond_type_embedding": False,
                                  "vision_in_dim": None, "meanflow_sum": False})
    return _subject(model, (16, 2, 8, 8), pooled_output=(1, 16))


def _ltxv() -> Subject:
    model = made("LTXV", {"image_model": "ltxv", "cross_attention_dim": 128,
                          "attention_head_dim": 64, "num_attention_heads": 2,
                          "caption_channels": WIDTH, "num_layers": 1})
    return _subject(model, (128, 2, 4, 4), attention_mask=torch.ones(1, TOKENS, dtype=torch.long))


def _ltx2() -> Subject:
    """A video and its sound, one layer for each."""
    video, sound = (1, 128, 2, 4, 4), (1, 8, 5, 16)
    model = made("LTXAV", {"image_model": "ltxav", "cross_attention_dim": 128,
                           "attention_head_dim": 64, "num_attention_heads": 2,
                           "caption_channels": WIDTH, "num_layers": 1,
                           "audio_in_channels": sound[1] * sound[3],
                           "audio_cross_attention_dim": 64, "audio_attention_head_dim": 32,
                           "audio_num_attention_heads": 2, "connector_num_layers": 1,
                           "connector_num_attention_heads": 1,
                           "connector_attention_head_dim": WIDTH})
    mask = torch.ones(1, TOKENS, dtype=torch.long)
    prompts = [words(2 * WIDTH, seed, attention_mask=mask) for seed in (1, 2)]
    return Subject(model, *prompts, nested([torch.zeros(video), torch.zeros(sound)]))


def _ace_step() -> Subject:
    model = made("ACEStep", {"audio_model": "ace", "num_layers": 1, "attention_head_dim": 32,
                             "num_attention_heads": 2, "mlp_ratio": 2.0,
                             "text_embedding_dim": WIDTH,
                             "lyric_encoder_vocab_size": 20})
    return _subject(model, (8, 16, 16),
                    conditioning_lyrics=torch.arange(TOKENS)[None])


def _stable_audio() -> Subject:
    weights = {f"conditioner.conditioners.seconds_{which}.{name}": value
               for which in ("start", "total")
               for name, value in _number_conditioner().items()}
    model = made("StableAudio", {"audio_model": "dit1.0", "embed_dim": 768, "num_heads": 12,
                                 "depth": 1, "cond_token_dim": 768, "global_cond_dim": 1536,
                                 "io_channels": 64, "project_cond_tokens": False}, weights,
                 gain=0.1)
    turns = model.model.diffusion_model.transformer.rotary_pos_emb.inv_freq
    turns.copy_(10000.0 ** -torch.linspace(0, 1, len(turns)))  # a checkpoint brings these
    return _subject(model, (64, 32), 768)


def _number_conditioner() -> dict[str, Tensor]:
    from comfy.ldm.audio.embedders import NumberConditioner

    generator = torch.Generator().manual_seed(0)
    shapes = NumberConditioner(768, min_val=0, max_val=512).state_dict()
    return {name: torch.randn(value.shape, generator=generator) * GAIN
            for name, value in shapes.items()}


FAMILIES: dict[str, Family] = {
    "SD1.5": Family("eps", sd15),
    "SD2": Family("v", _sd20_v),
    "SDXL": Family("eps", _sdxl),
    "SDXL, v": Family("v", lambda: _sdxl({"v_pred": torch.zeros(1)})),
    "Playground 2.5": Family("EDM", _playground),
    "SD3": Family("flow", lambda: _file("sd3", (CHANNELS, 8, 8))),
    "Flux dev": Family("flow, guidance embedding", lambda: _file("flux_dev", (CHANNELS, 8, 8))),
    "Flux schnell": Family("flow", lambda: _file("flux_schnell", (CHANNELS, 8, 8))),
    "Chroma": Family("flow", _chroma),
    "AuraFlow": Family("flow", _aura),
    "Lumina 2": Family("flow", lambda: _lumina("Lumina2")),
    "Z-Image": Family("flow", lambda: _lumina("ZImage", dim=256, n_heads=2, n_kv_heads=2,
                                              axes_dims=[32, 48, 48], z_image_modulation=True,
                                              time_scale=1000.0, pad_tokens_multiple=32)),
    "Qwen-Image": Family("flow, 3-D latents", _qwen),
    "PixArt Sigma": Family("eps", _pixart),
    "HunyuanDiT": Family("v", _hunyuan_dit),
    "Wan 2.1": Family("flow, video", lambda: _file("wan", (CHANNELS, 2, 8, 8))),
    "HunyuanVideo": Family("flow, video", _hunyuan_video),
    "CogVideoX": Family("v, zero terminal SNR, video",
                        lambda: _file("cogvideox", (CHANNELS, 2, 8, 8))),
    "LTX-Video": Family("flow, video", _ltxv),
    "LTX-2": Family("flow, nested: video and sound", _ltx2),
    "ACE-Step": Family("flow, audio", _ace_step),
    "Stable Audio": Family("v, continuous, audio", _stable_audio),
}
