"""The examples in docstrings, module by module."""
import doctest
import importlib
import pkgutil
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT

import transfer_gluon
from transfer_gluon.base.framework import mx

PACKAGES = sorted(folder.parent.name for folder in ROOT.glob("*/__init__.py") if folder.parent.name != "transfer_gluon")
MODULES = [f"transfer_gluon.{package}.{module.name}" for package in PACKAGES
           for module in pkgutil.iter_modules([ROOT / package])]
NAMES = dict(mx=mx, np=np, Path=Path)       # which examples use without importing them


@pytest.mark.parametrize("name", [*MODULES, "transfer_gluon.commands.reproduce"])
def test_examples_in_docstrings_are_right(name):
    module = importlib.import_module(name)
    assert doctest.testmod(module, extraglobs=NAMES).failed == 0


def test_the_package_gives_every_name_that_it_names():
    assert len(MODULES) > 70
    for name in transfer_gluon.__all__:
        assert getattr(transfer_gluon, name) is not None and name in dir(transfer_gluon)
