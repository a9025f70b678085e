"""labkit.models"""
