"""The only room that touches ComfyUI's Python API (`comfy.*`).

model.py reads facts off a loaded model, session.py runs work inside a guider with the model
loaded, builtin.py finds what ComfyUI's own samplers do, ordinary.py and node_only.py make the
settings a solver is measured against, apply.py makes ComfyUI sample with a Solver, console.py is
progress and interruption.
"""
