"""Ready-made question files of others, recognised by their content, as rows."""

from verl_vsi.data_adapters.importers.convert import import_rows
from verl_vsi.data_adapters.importers.fields import FIELDS

__all__ = ["FIELDS", "import_rows"]
