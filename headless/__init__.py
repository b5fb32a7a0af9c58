"""Searches without a browser: one command for one model, or for a list of them.

Nothing of the pack imports this. It starts ComfyUI in its own process, loads models through
ComfyUI's own loader nodes, and runs the search that the node runs. See docs/headless.md.
"""
