"""The only room that touches ComfyUI's Python API (`comfy.*`).

model.py reads facts off a loaded model, session.py runs work inside a guider with the model
loaded, ordinary.py measures ComfyUI's own samplers, apply.py makes ComfyUI sample with a Solver,
console.py is progress and interruption.
"""
