"""Where scenes come from: ScanNet as it is downloaded, the benchmark's meta-info files, rendered rooms.

Every source yields `Scene` records, and a `Rejected` in place of each scene that cannot be used: nothing is dropped
without a word.
"""

from verl_vsi.data_adapters.schema import Rejected, sort_out

__all__ = ["Rejected", "sort_out"]
