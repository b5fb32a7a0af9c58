"""Broken inputs by the thousand: each must be read or refused with a sentence, and soon.

    python -m tests.fuzz --inputs 100000 --seed 7

Preset files made from the golden ones, names, files of measurements, archives (by the page's own
script, in Node), the same readers under Hypothesis, and with a ComfyUI (`python -m tests.faults`)
requests and journals. Prints how many were tried, accepted and refused, and what crashed.
"""
