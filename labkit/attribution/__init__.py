"""labkit.attribution"""
