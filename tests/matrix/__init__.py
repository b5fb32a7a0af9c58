"""What works with what: every family, way of sampling and feature, on small random models.

The proof needs no eye: Euler as a preset must give what ComfyUI's own euler gives on the same
noise levels. `python run.py matrix` tries every cell and writes docs/compatibility.md; the test
suite tries them again and compares.
"""
