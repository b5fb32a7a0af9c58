"""What becomes of ComfyUI's official workflow templates: which path each has with a solver.

The templates are those that PyPI ships beside ComfyUI. Each is turned into the prompt the server
would run, its sampler nodes are found, the SAMPLER of each is made by ComfyUI's own nodes, and
`place_in`, which also decides when a workflow runs, is asked. `python run.py templates` writes
what came out into docs/compatibility.md; the test suite walks them again.
"""
