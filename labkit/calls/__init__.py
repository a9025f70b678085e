"""What the judging process and the worker share: exercises, recipes, the wire, notebooks in slices."""
