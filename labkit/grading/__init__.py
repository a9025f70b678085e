"""labkit.grading"""
