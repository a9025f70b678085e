"""Asking an exercise's function: cases, comparison, misconceptions, and the answer at once."""
