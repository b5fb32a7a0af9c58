"""Presets: what one is, its file, finding and writing it, and the published ones we ship.

Nothing here knows ComfyUI; `nodes` asks ComfyUI where presets live and hands folders in.
"""
