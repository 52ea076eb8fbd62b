"""The table of models in the docs says what the tests prove."""

from __future__ import annotations

import pytest
from vsi_support.model_folders import FAMILIES
from vsi_support.support_table import TABLE, TITLES, WAYS, Proof, markdown


@pytest.mark.parametrize("proof", WAYS.values(), ids=WAYS)
def test_a_cell_is_a_test(proof: Proof) -> None:
    assert proof.exists, proof.test


def test_a_test_that_is_gone_would_be_missed() -> None:
    assert not Proof("tests/verl_vsi/test_support_table.py::test_gone", ()).exists


def test_every_family_has_a_column() -> None:
    assert tuple(TITLES) == FAMILIES


def test_the_docs_have_the_table() -> None:
    """If not: python -m vsi_support.support_table"""
    assert TABLE.written() == markdown()
