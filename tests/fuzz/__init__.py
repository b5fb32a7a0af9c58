"""Broken presets by the thousand, made from the golden files: each must be read or refused.

    python -m tests.fuzz --inputs 100000 --seed 7

prints how many were tried, accepted and refused with a sentence, and what crashed the reader.
"""
