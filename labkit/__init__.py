"""labkit: a course lab kit for interpreting neural networks.

Importing this package is cheap and loads no torch; the parts are imported from where they live:

    from labkit.data import MiniBroden
    from labkit.models import load_model
    from labkit.attribution import saliency
    from labkit.grading import check
"""

__version__ = "0.1.0"
