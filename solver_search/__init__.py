"""The engine: diffusion ODE solvers as tables, and searches that find better ones.

Reading order: solver.py (what a solver is), sample.py (the one loop), parameters.py (raw
numbers -> solver), search.py (what a search is), methods/ (how one searches).
Needs torch, numpy and scipy only; it never imports ComfyUI, reads files or prints.
"""
