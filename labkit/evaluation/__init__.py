"""labkit.evaluation"""
