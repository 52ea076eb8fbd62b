"""verl-vsi: vsGRPO, VSI-100k and VSI-Bench for verl, as a plug-in (arXiv 2504.00883)."""

__version__ = "0.1.0"
