"""labkit.data"""
