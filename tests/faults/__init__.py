"""Everything that can go wrong while people search and sample, tried on a real ComfyUI.

    python -m tests.faults                    every fault of the table, then 100,000 broken inputs
    python -m tests.faults --soak 200         hundreds of searches and samplings, memory watched

A fault is a row of a table (table.py, disks.py): what goes wrong, when, and how the search must
end. One runner (runner.py) holds each to the same things: a true sentence, the best so far comes
out, no file is lost, nothing is left behind, model and process are as before (traces.py).
"""
