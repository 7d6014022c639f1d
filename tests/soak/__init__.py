"""The soak: all harnesses of the proof in turn, for as long as one likes, each time with a seed of its own."""
