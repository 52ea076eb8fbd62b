"""Ready-made question files of others, recognised by their content, as rows."""

from verl_vsi.data_adapters.importers.convert import import_rows
from verl_vsi.data_adapters.importers.fields import parse_mapping

__all__ = ["import_rows", "parse_mapping"]
