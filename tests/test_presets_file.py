"""The file: golden bytes, exact round trip, every refusal, noise thrown at the reader."""

from __future__ import annotations

import copy
import hashlib
import importlib.util
import json
import random
import re
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import load as official_load
from torch import Tensor

from tests.pack import ROOT, load

if TYPE_CHECKING:
    from presets.preset import Preset

preset = load("presets.preset")
file = load("presets.file")
fields = load("presets.fields")
Solver = load("solver_search.solver").Solver
BASIS = load("solver_search.solver").BASIS
PresetError = preset.PresetError
FORMAT = (ROOT / "presets" / "FORMAT.md").read_text("utf-8")
WORKFLOW = '{"nodes": [], "version": 0.4}'
GOLDEN = "4a0f6f9c27e37747e7238588c5124c040a0246b6b7fdc6d681ded23e1ec2e692"


def full() -> Preset:
    """A preset that uses every tensor and every field."""
    solver = Solver(
        torch.tensor([14.6, 3.3, 0.7, 0.0], dtype=torch.float64),
        torch.tensor([[1.0, 0, 0], [-0.25, 1.125, 0], [0.1, -0.3, 1.3]], dtype=torch.float64),
        False, torch.tensor([1.0, 0.99, 1.01], dtype=torch.float64),
        torch.tensor([14.0, 3.0, 0.8], dtype=torch.float64))
    return preset.Preset(solver, preset.PresetInfo(
        name="Full ✓", prediction="v", author="Ada", created="2026-11-20", licence="CC-BY-4.0",
        notes="one\ntwo", family="SDXL", model_name="a.safetensors", latent_channels=4,
        sigma_min=0.0292, sigma_max=14.6146, guidance=7.0, width=128, height=96, frames=1,
        method="dss", teacher="res_multistep 48 calls", trajectories=96, model_calls=12345,
        seconds=61.5, seed=2**64 - 1, error=0.021, error_interval=0.001, baseline="dpmpp_2m/beta",
        baseline_error=0.034, baseline_interval=2e-05, held_out_seeds=64,
        reference="deis, 100 calls", tool_version="1.0.0", torch_version="2.11.0"))


def plain() -> Preset:
    """The example of FORMAT.md."""
    solver = Solver(torch.tensor([1.0, 0.0]), torch.tensor([[1.0]]), True)
    return preset.Preset(solver, preset.PresetInfo(name="Euler 1", prediction="flow", shift=1.0))


def block(language: str) -> str:
    """The one code block of that language in FORMAT.md."""
    found = re.findall(rf"```{language}\n(.*?)```", FORMAT, re.DOTALL)
    assert len(found) == 1
    return found[0]


def bits(values: Tensor | None) -> bytes | None:
    return None if values is None else values.numpy().tobytes()


def assert_same(a: Preset, b: Preset) -> None:
    assert a.info == b.info and a.id == b.id and a.solver.flow == b.solver.flow
    for name in preset.TENSORS:
        assert bits(a.solver.tensors.get(name)) == bits(b.solver.tensors.get(name))


def header_of(data: bytes) -> dict[str, Any]:
    return json.loads(data[8 : 8 + struct.unpack("<Q", data[:8])[0]])


def body_of(data: bytes) -> bytes:
    return data[8 + struct.unpack("<Q", data[:8])[0] :]


def build(header: dict[str, Any] | bytes, body: bytes) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def edited(change: Callable[[dict[str, Any]], Any]) -> bytes:
    """The example file with its header changed."""
    data = file.dump(plain())
    header = header_of(data)
    change(header)
    return build(header, body_of(data))


def with_text(**texts: str) -> bytes:
    return edited(lambda header: header["__metadata__"].update(texts))


def with_entry(name: str, **changes: object) -> bytes:
    return edited(lambda header: header[name].update(changes))


def without(*path: str) -> bytes:
    def change(header: dict[str, Any]) -> None:
        for key in path[:-1]:
            header = header[key]
        del header[path[-1]]
    return edited(change)


def numbers(sigmas: list[float], weights: list[float], **more: str) -> bytes:
    """A file with these numbers and whatever id: the numbers are looked at first."""
    n, m = len(sigmas), round(len(weights) ** 0.5)
    data = struct.pack(f"<{n + m * m}d", *sigmas, *weights)
    entry = {"sigmas": (8 * 0, 8 * n, [n]), "weights": (8 * n, len(data), [m, m])}
    header = {k: {"dtype": "F64", "shape": s, "data_offsets": [a, b]}
              for k, (a, b, s) in entry.items()}
    metadata = {**header_of(file.dump(plain()))["__metadata__"], **more}
    return build({"__metadata__": metadata, **header}, data)


def replaced(old: bytes, new: bytes) -> bytes:
    data = file.dump(plain())
    n = struct.unpack("<Q", data[:8])[0]
    return build(data[8 : 8 + n].replace(old, new, 1), body_of(data))


def test_a_cfg_range_comes_back() -> None:
    ranged = replace(full().info, guidance_low=4.0, guidance_high=8.5,
                     guidance_measured="4: 0.1 / 0.2, 7: 0.2 / 0.3, 8.5: 0.3 / 0.4")
    again = file.parse(file.dump(preset.Preset(full().solver, ranged)))
    assert again.info == ranged and again.id == full().id


def test_bytes_are_golden() -> None:
    data = file.dump(full(), WORKFLOW)
    assert data == file.dump(full(), WORKFLOW)
    # A change here breaks strangers' files: make a new version instead.
    assert hashlib.sha256(data).hexdigest() == GOLDEN
    assert full().id == "fbacc03787d2e387"


@pytest.mark.parametrize("make", [full, plain])
def test_round_trip_keeps_every_bit(make: Callable[[], Preset]) -> None:
    data = file.dump(make())
    assert_same(file.parse(data), make())
    assert file.dump(file.parse(data)) == data
    assert (8 + struct.unpack("<Q", data[:8])[0]) % 8 == 0


def test_random_numbers_come_back_bit_for_bit() -> None:
    generator = torch.Generator().manual_seed(0)
    for n in (1, 2, 9, 64):
        rows = torch.randn(n, n, generator=generator, dtype=torch.float64).tril()
        sigmas = torch.rand(n + 1, generator=generator, dtype=torch.float64)
        solver = Solver(sigmas.sort(descending=True).values + 1e-3, rows, False, torch.ones(n))
        info = preset.PresetInfo(name="r", prediction="eps", seconds=1 / 3, seed=n)
        before = preset.Preset(solver, info)
        assert_same(file.parse(file.dump(before)), before)


def test_official_library_reads_our_file() -> None:
    read = official_load(file.dump(full(), WORKFLOW))
    assert set(read) == set(preset.TENSORS) - {"designer_in", "designer_out", *BASIS}
    assert all(bits(v) == bits(full().solver.tensors[k]) for k, v in read.items())


def test_tensors_may_come_in_any_order_and_foreign_words_are_ignored() -> None:
    data = file.dump(plain())
    header, body = header_of(data), body_of(data)
    header["sigmas"]["data_offsets"], header["weights"]["data_offsets"] = [8, 24], [0, 8]
    header["__metadata__"]["site.hash"] = "abc"
    assert_same(file.parse(build(header, body[16:] + body[:16])), plain())


def test_absent_words_are_unknown() -> None:
    """Above all the licence: a stranger who says nothing has given nothing away."""
    read = file.parse(without("__metadata__", "licence"))
    assert read.info.licence == "" and read.info.seed is None and read.info.width == 0
    assert "licence" not in header_of(file.dump(read))["__metadata__"]


def test_workflow_lies_in_the_metadata() -> None:
    data = file.dump(plain(), WORKFLOW)
    assert header_of(data)["__metadata__"]["workflow"] == WORKFLOW
    assert_same(file.parse(data), plain())
    with pytest.raises(PresetError, match="workflow must be a JSON object, found list"):
        file.dump(plain(), "[]")
    with pytest.raises(PresetError, match="at most 524288 bytes.*Leave out the workflow"):
        file.dump(plain(), json.dumps({"a": "x" * 600_000}))


def test_example_of_the_format_page() -> None:
    data = bytes.fromhex(block("hex"))
    assert data == file.dump(plain())
    assert_same(file.parse(data), plain())
    assert header_of(data) == json.loads(block("json"))


def test_reader_of_the_format_page(tmp_path: Path) -> None:
    (tmp_path / "reader.py").write_text(block("python"), "utf-8")
    spec = importlib.util.spec_from_file_location("reader", tmp_path / "reader.py")
    assert spec is not None and spec.loader is not None
    reader = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reader)
    metadata, tensors = reader.read(bytes.fromhex(block("hex")))
    assert metadata["name"] == "Euler 1"
    assert tensors == {"sigmas": [1.0, 0.0], "weights": [1.0]}
    assert reader.read(file.dump(full()))[1]["start"] == [1.0, 0.99, 1.01]


def test_table_of_the_format_page() -> None:
    rows = re.findall(r"^\| `(\w+)` \| ([a-z ]+) \| ([^|]+) \|", FORMAT, re.MULTILINE)
    words = {fields.Date: "date", fields.FileName: "file name", fields.Count: "whole number",
             fields.Number: "number", fields.Hex: "hex",
             load("presets.pictures").Picture: "picture"}
    expected = [(name, words.get(type(kind), "text"),
                 f"{kind.low:g} to {kind.high:g}" if isinstance(kind, fields.Number)
                 else str(kind.limit)) for name, kind in load("presets.info").kinds().items()]
    assert rows == expected


HUGE = struct.pack("<Q", 2**63)
DEEP = b'{"a":' * 50_000
REFUSALS = {
    "empty": (b"", "ends after 0 bytes; it is truncated"),
    "seven bytes": (b"\0" * 7, "ends after 7 bytes"),
    "too large": (b"\0" * (1048577), "at most 1048576 bytes, this file has 1048577.*model"),
    "length 2^63": (HUGE + b"{}", "at most 524288 bytes, this one claims 9223372036854775808"),
    "long header": (build(b"{" + b" " * 524288, b""), "at most 524288 bytes, this one claims"),
    "length lies": (struct.pack("<Q", 999) + b"{}", "claims 999 bytes, the file has 2 left"),
    "pickle": (build(b"\x80\x04.", b""), "must be JSON and start with {"),
    "space first": (build(b" {}", b""), "must be JSON and start with {"),
    "no JSON": (build(b"{'a': 1}", b""), "must be JSON, but cannot be read"),
    "two objects": (build(b"{}{}", b""), "must be JSON, but cannot be read"),
    "not UTF-8": (build(b'{"\xff": 1}', b""), "must be UTF-8"),
    "NaN in JSON": (build(b'{"a": NaN}', b""), "must be JSON, but cannot be read"),
    "deep": (build(DEEP, b""), "must be JSON, but cannot be read"),
    "long number": (build(b'{"a":' + b"9" * 9999 + b"}", b""), "must be JSON, but cannot"),
    "duplicate tensor": (replaced(b'"sigmas":', b'"weights":'), "found a duplicate key"),
    "duplicate text": (replaced(b'"name":', b'"flow":'), "found a duplicate key"),
    "duplicate offsets": (replaced(b'"dtype":"F64"', b'"dtype":"F64","dtype":"F64"'),
                          "found a duplicate key"),
    "no metadata": (without("__metadata__"), "header has no __metadata__"),
    "metadata list": (edited(lambda h: h.update(__metadata__=[])), "header has no __metadata__"),
    "metadata number": (edited(lambda h: h["__metadata__"].update(width=3)),
                        "must hold text only, found int at 'width'"),
    "no format": (without("__metadata__", "format"), "not a solver preset.*perhaps a model"),
    "other format": (with_text(format="pt"), "format must be solver-search-preset, found 'pt'"),
    "newer": (with_text(version="3"), "version 3, newer than the version 2.*Update"),
    "version 0": (with_text(version="0"), "version must be 1 to 2, found '0'"),
    "version text": (with_text(version="one"), "version must be 1 to 2, found 'one'"),
    "version odd": (with_text(version="01"), "version must be 1 to 2, found '01'"),
    "no flow": (without("__metadata__", "flow"), "flow must be true or false, found ''"),
    "flow text": (with_text(flow="True"), "flow must be true or false, found 'True'"),
    "no id": (without("__metadata__", "id"), "found '': the file was altered"),
    "wrong id": (with_text(id="0" * 16), "id must be 2cfa75b4b22525a0.*the file was altered"),
    "no name": (without("__metadata__", "name"), "name must not be empty"),
    "no prediction": (without("__metadata__", "prediction"), "must be one of eps, v, flow"),
    "no shift": (without("__metadata__", "shift"), "shift must be given"),
    "long name": (with_text(name="x" * 81), "name must have at most 80 characters, found 81"),
    "long notes": (with_text(notes="x" * 4001), "notes must have at most 4000 characters"),
    "control": (with_text(author="a\x07"), r"found the control character U\+0007"),
    "arabic mark": (with_text(author="a\u061c"), r"found the control character U\+061C"),
    "old mark": (with_text(author="a\u206f"), r"found the control character U\+206F"),
    "unseen name": (with_text(name="\u200b \u3164\u2800\u115f\u1160\uffa0\U000e0041"),
                    "name must not be empty"),
    "unseen letters": (with_text(name="\u00ad\u2060\ufeff\u034f\ufe0f"), "name must not be empty"),
    "surrogate": (with_text(author="\udc80"), r"found the control character U\+DC80"),
    "path": (with_text(model_name="/home/a/m"), "must be a file name without folders"),
    "digits": (with_text(width="1_0"), "width must be a whole number in digits, found '1_0'"),
    "other digits": (with_text(width="٣"), "width must be a whole number in digits"),
    "sign": (with_text(width="-1"), "width must be a whole number in digits"),
    "number": (with_text(guidance="nan"), "guidance must be a decimal number, found 'nan'"),
    "range end": (with_text(guidance_low="2"), "one first, found 2 and none"),
    "range order": (with_text(guidance_low="4", guidance_high="2"), "the lower one first"),
    "number space": (with_text(guidance=" 1"), "guidance must be a decimal number"),
    "overflow": (with_text(error="1e999"), "error must lie in 0 to 1e.09, found inf"),
    "workflow": (with_text(workflow="alert(1)"), "workflow must be JSON"),
    "workflow list": (with_text(workflow="[]"), "workflow must be a JSON object, found list"),
    "workflow deep": (with_text(workflow="[" * 50_000), "workflow must be JSON"),
    "extra tensor": (edited(lambda h: h.update(payload=h["sigmas"])),
                     "must be among .*, found 'payload'"),
    "entry list": (edited(lambda h: h.update(sigmas=[])), "sigmas must state dtype, shape and"),
    "entry extra": (with_entry("sigmas", code="x"), "sigmas must state dtype, shape and"),
    "dtype": (with_entry("sigmas", dtype="F32"), "sigmas must have dtype F64, found \"F32\""),
    "dtype list": (with_entry("sigmas", dtype=["F64"]), "sigmas must have dtype F64"),
    "shape text": (with_entry("sigmas", shape="2"), 'found "2"'),
    "shape nothing": (with_entry("sigmas", shape=None), "at least 1, found nothing"),
    "offsets nothing": (with_entry("sigmas", data_offsets=None), "1048576, found nothing"),
    "dtype nothing": (with_entry("sigmas", dtype=None), "must have dtype F64, found nothing"),
    "metadata nothing": (edited(lambda h: h["__metadata__"].update(width=None)),
                         "must hold text only, found nothing at 'width'"),
    "workflow nothing": (with_text(workflow="null"), "must be a JSON object, found nothing"),
    "shape bool": (with_entry("weights", shape=[True, True]), "must have one or two dimensions"),
    "shape float": (with_entry("sigmas", shape=[2.0]), "must have one or two dimensions"),
    "shape negative": (with_entry("sigmas", shape=[-1, -2]), "must have one or two dimensions"),
    "shape scalar": (with_entry("sigmas", shape=[]), "must have one or two dimensions"),
    "shape cube": (with_entry("weights", shape=[1, 1, 1]), "must have one or two dimensions"),
    "shape zero": (with_entry("sigmas", shape=[0]), "must have one or two dimensions"),
    "shape huge": (with_entry("sigmas", shape=[2**62, 4]), "must have one or two dimensions"),
    "shape size": (with_entry("sigmas", shape=[3]), "must take 24 bytes for shape .3.,"),
    "offsets three": (with_entry("sigmas", data_offsets=[0, 8, 16]), "must have two data_offs"),
    "offsets negative": (with_entry("sigmas", data_offsets=[-8, 8]), "must have two data_offs"),
    "offsets huge": (with_entry("sigmas", data_offsets=[0, 2**64]), "must have two data_offs"),
    "offsets bool": (with_entry("sigmas", data_offsets=[False, 16]), "must have two data_offs"),
    "offsets reversed": (with_entry("sigmas", data_offsets=[16, 0]), "must take 16 bytes"),
    "overlap": (with_entry("weights", data_offsets=[8, 16]), "weights starts at 8, expected 16"),
    "gap": (with_entry("weights", data_offsets=[24, 32]), "weights starts at 24, expected 16"),
    "late start": (edited(lambda h: (h["sigmas"].update(data_offsets=[8, 24]),
                                     h["weights"].update(data_offsets=[24, 32]))),
                   "sigmas starts at 8, expected 0"),
    "truncated": (file.dump(plain())[:-1], "take 24 bytes, the file holds 23: it is truncated"),
    "appended": (file.dump(plain()) + b"PK", "holds 26: it is followed by foreign bytes"),
    "no sigmas": (edited(lambda h: (h.pop("sigmas"), h["weights"].update(
        data_offsets=[0, 24], shape=[3, 1]))), "found no sigmas"),
    "no weights": (edited(lambda h: (h.pop("weights"), h["sigmas"].update(
        data_offsets=[0, 24], shape=[3]))), "found no weights"),
    "shapes differ": (numbers([1, 0.5, 0], [1]), r"weights must have shape \(2, 2\)"),
    "one sigma": (numbers([1], [1]), "sigmas must be a list of 2 to"),
    "65 calls": (numbers([1 - n / 65 for n in range(66)], torch.eye(65).flatten().tolist()),
                 "1 to 64 model calls, found 65"),
    "NaN": (numbers([1, float("nan")], [1]), "sigmas holds NaN or infinity"),
    "infinity": (numbers([1, 0], [float("inf")]), "weights holds NaN or infinity"),
    "rising": (numbers([0.5, 1, 0], [1, 0, 0, 1]), "sigmas must never rise"),
    "negative": (numbers([1, -0.1], [1]), "sigmas must be positive"),
    "early zero": (numbers([1, 0, 0], [1, 0, 0, 1]), "sigmas must be positive"),
    "above 1": (numbers([2, 0], [1]), "sigmas of a flow model end at 1"),
    "row sum": (numbers([1, 0.5, 0], [1, 0, 0.5, 0.6]), "row 1 sums to 1.1"),
    "upper": (numbers([1, 0.5, 0], [0.5, 0.5, 0, 1]), "must be lower-triangular"),
    "large weight": (numbers([1, 0.5, 0], [1, 0, 2e4, 1 - 2e4]), "must stay within 10000"),
    "large row": (numbers([1, 0.5, 0], [1, 0, 60, -59]),
                  "row of weights must sum to at most 100, row 1 sums to 119: pictures would"),
    "tiny sigma": (numbers([1, 1e-300], [1]), "must lie in 1e-06 to 100000"),
    "not flow": (numbers([1, 0], [1], flow="false"), "prediction must agree with the solver"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_refusals(case: str) -> None:
    data, sentence = REFUSALS[case]
    with pytest.raises(PresetError, match=sentence) as caught:
        file.parse(data)
    assert len(str(caught.value)) < 400 and str(caught.value).endswith(".")


def test_no_file_is_written_that_none_would_read() -> None:
    """A search may try such tables, and a node may hand one on; a file may not carry it."""
    wild = Solver(torch.tensor([1.0, 0.5, 0.0]), torch.tensor([[1.0, 0], [60, -59]]), True)
    held = preset.Preset(wild, plain().info)
    with pytest.raises(PresetError, match="must sum to at most 100"):
        file.dump(held)
    beside = {"guidance_weights": torch.tensor([[0.0, 0], [60, -59]])}
    calm = replace(wild, weights=torch.eye(2), beside=beside)
    with pytest.raises(PresetError, match="row of guidance_weights must sum to at most 100"):
        file.dump(preset.Preset(calm, plain().info))


def test_a_changed_number_is_noticed() -> None:
    data = bytearray(file.dump(full()))
    data[-8] ^= 1  # the last bit of the last weight
    with pytest.raises(PresetError, match="the file was altered"):
        file.parse(bytes(data))


def damaged(data: bytes, chance: random.Random) -> bytes:
    """Flipped, cut, doubled or swapped bytes, mostly in the header, where the traps are."""
    found = bytearray(data)
    end = len(found) if chance.random() < 0.3 else 8 + struct.unpack("<Q", data[:8])[0]
    for _ in range(chance.choice((1, 1, 2, 5))):
        at = chance.randrange(end)
        place = at % len(found)
        match chance.randrange(5):
            case 0:
                found[place] ^= 1 << chance.randrange(8)
            case 1:
                found[place] = chance.choice(b'{}[]",:0129-e.\\u \0\xff')
            case 2:
                del found[at : at + chance.randrange(1, 9)]
            case 3:
                found[at:at] = found[at : at + chance.randrange(1, 40)]
            case _:
                del found[max(8, at) :]
    if chance.random() < 0.5 and len(found) >= 8:  # an honest length lets damage reach further
        found[:8] = struct.pack("<Q", len(found) - 8 - len(body_of(data)) & 0xFFFF)
    return bytes(found)


def test_noise_never_breaks_the_reader() -> None:
    chance = random.Random(0)
    sources = [file.dump(plain()), file.dump(full(), WORKFLOW)]
    refused = 0
    for _ in range(3000):
        data = damaged(chance.choice(sources), chance)
        try:
            file.parse(data)
        except PresetError as error:
            assert str(error)
            refused += 1
    assert refused > 1500  # else the damage is not damage; words alone may change unnoticed


def test_random_numbers_never_break_the_reader() -> None:
    chance = random.Random(2)
    odd = [0.0, -0.0, 1.0, 0.5, 5e-324, 1e308, -1e308, float("nan"), float("inf"), 1e-6]
    for _ in range(1000):
        n = chance.randrange(1, 4)
        drawn = [chance.choice(odd) if chance.random() < 0.5 else
                 struct.unpack("<d", chance.randbytes(8))[0] for _ in range(n + 1 + n * n)]
        with pytest.raises(PresetError):
            file.parse(numbers(drawn[: n + 1], drawn[n + 1 :], id="none"))


def test_random_headers_never_break_the_reader() -> None:
    chance = random.Random(1)
    odd = [None, True, -1, 2**70, 1e400, "", "x", [], {}, [0, 0], [None], {"dtype": {}}]
    keys = ["dtype", "shape", "data_offsets", "__metadata__", "sigmas", "weights"]
    for _ in range(1000):
        header = header_of(sample := file.dump(plain()))
        for _ in range(chance.choice((1, 2, 4))):
            place = chance.choice([header, *(v for v in header.values() if type(v) is dict)])
            place[chance.choice(keys)] = copy.deepcopy(chance.choice(odd))
        try:
            file.parse(build(header, body_of(sample)))
        except PresetError:
            continue


def test_replacing_words_keeps_the_id() -> None:
    renamed = preset.Preset(plain().solver, replace(plain().info, name="Other"))
    assert file.parse(file.dump(renamed)).id == plain().id
