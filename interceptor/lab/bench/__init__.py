"""The benchmarks: every row of the design's targets, as ratios within one run on one machine."""
