"""The pack's version, as written into presets; equals pyproject.toml's (tested)."""

VERSION = "0.1.0"
