"""Workflow file -> prompt, with the real server's /object_info and real workflow files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from launch.failures import PromptError
from launch.server import Server
from launch.widgets import is_widget, named_values
from launch.workflow import WorkflowError, to_prompt

ACTIVE, MUTED, BYPASSED = 0, 2, 4
PLAIN = {"INT": (int,), "FLOAT": (int, float), "STRING": (str,), "BOOLEAN": (bool,)}


def node(number: int, kind: str, values: list | None = None, **more: object) -> dict:
    return {"id": number, "type": kind, "mode": ACTIVE, "widgets_values": values} | more


def socket(name: str, kind: str, link: int | None) -> dict:
    return {"name": name, "type": kind, "link": link}


def image_graph(middle: dict) -> dict:
    """EmptyImage -> a node with an image input and output -> PreviewImage."""
    slots = {"inputs": [socket("image", "IMAGE", 1)], "outputs": [{"type": "IMAGE"}]}
    nodes = [
        node(1, "EmptyImage", [64, 32, 1, 255], outputs=[{"type": "IMAGE"}]),
        slots | middle | {"id": 2},
        node(3, "PreviewImage", [], inputs=[socket("images", "IMAGE", 2)]),
        node(9, "MarkdownNote", ["# read me"]),
    ]
    return {"nodes": nodes, "links": [[1, 1, 0, 2, 0, "IMAGE"], [2, 2, 0, 3, 0, "IMAGE"]]}


def test_values_links_and_notes(server: Server, object_info: dict) -> None:
    prompt = to_prompt(image_graph(node(2, "ImageInvert")), object_info)
    assert set(prompt) == {"1", "2", "3"}
    assert prompt["1"]["inputs"] == {"width": 64, "height": 32, "batch_size": 1, "color": 255}
    assert prompt["2"]["inputs"] == {"image": ["1", 0]}
    assert server.client.run(prompt).outputs["3"]["images"]


@pytest.mark.parametrize("middle", [node(2, "ImageInvert", mode=BYPASSED), node(2, "Reroute")])
def test_bypassed_and_reroute_pass_on(middle: dict, object_info: dict) -> None:
    prompt = to_prompt(image_graph(middle), object_info)
    assert prompt["3"]["inputs"] == {"images": ["1", 0]}
    assert set(prompt) == {"1", "3"}


def test_muted_leaves_its_successors_without_input(server: Server, object_info: dict) -> None:
    prompt = to_prompt(image_graph(node(2, "ImageInvert", mode=MUTED)), object_info)
    assert prompt["3"]["inputs"] == {}
    with pytest.raises(PromptError, match=r"node 3 \(PreviewImage\).*missing: images"):
        server.client.run(prompt)


def test_bypassing_takes_the_input_of_the_same_type(object_info: dict) -> None:
    lora = node(
        2, "LoraLoader", ["a.safetensors", 1.0, 1.0], mode=BYPASSED,
        inputs=[socket("clip", "CLIP", 1), socket("model", "MODEL", 2)],
        outputs=[{"type": "MODEL"}, {"type": "CLIP"}],
    )  # fmt: skip
    graph = {
        "nodes": [
            node(1, "CheckpointLoaderSimple", ["m.safetensors"]), lora,
            node(3, "CLIPTextEncode", ["a fox"], inputs=[socket("clip", "CLIP", 3)]),
        ],
        "links": [[1, 1, 1, 2, 0, "CLIP"], [2, 1, 0, 2, 1, "MODEL"], [3, 2, 1, 3, 0, "CLIP"]],
    }  # fmt: skip
    prompt = to_prompt(graph, object_info)
    assert prompt["3"]["inputs"] == {"text": "a fox", "clip": ["1", 1]}


def test_the_value_after_a_seed_is_skipped(object_info: dict) -> None:
    values = [7, "randomize", 20, 8.0, "euler", "normal", 1.0]
    named = named_values(node(1, "KSampler", values), object_info["KSampler"])
    assert list(named.values()) == [7, 20, 8.0, "euler", "normal", 1.0]
    assert named["seed"] == 7 and named["denoise"] == 1.0


def test_a_value_the_file_lacks_is_the_default(object_info: dict) -> None:
    named = named_values(node(1, "KSampler", [7, "fixed", 20]), object_info["KSampler"])
    assert named["cfg"] == 8.0 and named["denoise"] == 1.0


def test_an_input_turned_into_a_socket_keeps_its_place(object_info: dict) -> None:
    steps = socket("steps", "INT", 1) | {"widget": {"name": "steps"}}
    sampler = node(1, "KSampler", [7, "fixed", 20, 5.5, "euler", "normal", 1.0], inputs=[steps])
    graph = {"nodes": [sampler, node(2, "PrimitiveInt", [12, "fixed"])],
             "links": [[1, 2, 0, 1, 0, "INT"]]}  # fmt: skip
    inputs = to_prompt(graph, object_info)["1"]["inputs"]
    assert inputs["steps"] == ["2", 0]
    assert inputs["cfg"] == 5.5


def test_a_primitive_node_of_the_browser_gives_its_value(object_info: dict) -> None:
    steps = socket("steps", "INT", 1) | {"widget": {"name": "steps"}}
    sampler = node(1, "KSampler", [7, "fixed", 20, 5.5, "euler", "normal", 1.0], inputs=[steps])
    graph = {"nodes": [sampler, node(2, "PrimitiveNode", [33, "fixed"])],
             "links": [[1, 2, 0, 1, 0, "INT"]]}  # fmt: skip
    assert to_prompt(graph, object_info)["1"]["inputs"]["steps"] == 33


def test_dynamic_combos_name_the_inputs_of_the_choice(object_info: dict) -> None:
    values = ["video/x", "mp4", "h264", "re-encode", 18.0]
    named = named_values(node(1, "SaveVideo", values), object_info["SaveVideo"])
    assert named["codec"] == "h264"
    assert named["codec.encoding"] == "re-encode"
    assert named["codec.encoding.crf"] == 18.0


def test_subgraphs_are_opened(server: Server, object_info: dict) -> None:
    """EmptyImage inside, its width promoted to the outer node, its image inverted outside."""
    inner = node(
        5, "EmptyImage", [64, 32, 1, 255], outputs=[{"type": "IMAGE"}],
        inputs=[socket("width", "INT", 1) | {"widget": {"name": "width"}}],
    )  # fmt: skip
    ends = ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")
    definition = {
        "id": "a-uuid", "nodes": [inner], "inputs": [{"name": "width", "type": "INT"}],
        "outputs": [{"name": "IMAGE", "type": "IMAGE"}],
        "links": [dict(zip(ends, (1, -10, 0, 5, 0, "INT"), strict=True)),
                  dict(zip(ends, (2, 5, 0, -20, 0, "IMAGE"), strict=True))],
    }  # fmt: skip
    graph = image_graph(node(2, "ImageInvert"))
    graph["nodes"][0] = node(1, "a-uuid", [96], inputs=[], outputs=[{"type": "IMAGE"}])
    graph["definitions"] = {"subgraphs": [definition]}
    prompt = to_prompt(graph, object_info)
    assert prompt["1:5"]["inputs"]["width"] == 96
    assert prompt["1:5"]["inputs"]["height"] == 32
    assert prompt["2"]["inputs"] == {"image": ["1:5", 0]}
    assert server.client.run(prompt).outputs["3"]["images"]
    graph["nodes"][0]["widgets_values"] = []  # older files keep the value inside
    assert to_prompt(graph, object_info)["1:5"]["inputs"]["width"] == 64


def test_an_unknown_node_is_named(object_info: dict) -> None:
    graph = {"nodes": [node(4, "FromNowhere")], "links": []}
    with pytest.raises(WorkflowError, match=r"node 4 \(FromNowhere\)"):
        to_prompt(graph, object_info)


def test_a_prompt_is_no_workflow(object_info: dict) -> None:
    with pytest.raises(WorkflowError, match="'nodes'"):
        to_prompt({"1": {"class_type": "EmptyImage", "inputs": {}}}, object_info)


def test_a_loop_of_reroutes_ends(object_info: dict) -> None:
    loop = [node(n, "Reroute", inputs=[socket("", "*", n)]) for n in (1, 2)]
    graph = {
        "nodes": [*loop, node(3, "PreviewImage", inputs=[socket("images", "IMAGE", 1)])],
        "links": [[1, 2, 0, 1, 0, "*"], [2, 1, 0, 2, 0, "*"]],
    }
    with pytest.raises(WorkflowError, match="leads back"):
        to_prompt(graph, object_info)


def templates() -> Iterator[Path]:
    spec = find_spec("comfyui_workflow_templates_json")
    for folder in spec.submodule_search_locations or () if spec else ():
        yield from sorted(Path(folder, "templates").glob("*.json"))


def test_comfyui_own_templates_give_values_of_the_right_type(object_info: dict) -> None:
    """Hundreds of files as the browser saved them: one slip in the order shows as a wrong type."""
    checked, wrong = 0, []
    for path in templates():
        graph = json.loads(path.read_text("utf-8"))
        if not isinstance(graph, dict) or not _known(graph, object_info):
            continue
        for number, entry in to_prompt(graph, object_info).items():
            if entry["class_type"] == "Load3D":  # its values are made by a viewer in the browser
                continue
            for name, fits in _checks(entry, object_info[entry["class_type"]]["input"]):
                checked += 1
                if not fits:
                    wrong.append((path.name, number, entry["class_type"], name))
    assert not wrong
    if any(True for _ in templates()):
        assert checked > 1000


def _known(graph: dict, object_info: dict) -> bool:
    """Without nodes for paid services, which this server does not have."""
    skipped = ("Note", "MarkdownNote", "Reroute", "PrimitiveNode")
    subgraphs = graph.get("definitions", {}).get("subgraphs", [])
    nodes = [node for part in (graph, *subgraphs) for node in part.get("nodes", ())]
    kinds = {node["type"] for node in nodes} - set(skipped) - {part["id"] for part in subgraphs}
    return bool(kinds) and kinds <= set(object_info)


def _checks(entry: dict, inputs: dict) -> Iterator[tuple[str, bool]]:
    for group in ("required", "optional"):
        for name, spec in (inputs.get(group) or {}).items():
            value = entry["inputs"].get(name)
            if is_widget(spec) and value is not None and not isinstance(value, list):
                yield name, _fits(value, spec)


def _fits(value: object, spec: list) -> bool:
    kind = spec[0]
    if isinstance(kind, list) or kind == "COMBO":
        choices = kind if isinstance(kind, list) else spec[1].get("options")
        is_file = isinstance(value, str) and "." in value  # lists of model files are empty here
        return not choices or value in choices or is_file
    return type(value) in PLAIN.get(kind, (type(value),))
