"""`python run.py bench [--quick]`: run the benchmarks and write benchmarks/results/."""

from .quality import main

main()
