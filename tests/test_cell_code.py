"""The closure hash: what counts as the code of a result, and what does not."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from fake_tree import make_tree

from sgm_core.code import ROOT, closure, closure_hash
from sgm_core.errors import SgmError

BASE = ["sgm_core.train.run", "sgm_core.nets.mlp"]
VP = [*BASE, "sgm_core.process.vp"]
VE = [*BASE, "sgm_core.process.ve"]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return make_tree(tmp_path)


def edit(tree: Path, name: str, old: str, new: str) -> None:
    file = tree / "sgm_core" / name
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def test_the_closure_is_what_the_trainer_reaches(tree: Path) -> None:
    names = set(closure(VP, tree))
    assert {"sgm_core.train.helper", "sgm_core.process.base", "sgm_core.process"} < names
    assert not names & {"sgm_core.process.ve", "sgm_core.nets.unet", "sgm_core.evaluate.run"}
    assert not [n for n in names if n.startswith(("sgm_core.config", "sgm_core.store"))]
    assert "sgm_core.errors" not in names


def test_comments_docstrings_and_layout_do_not_count(tree: Path) -> None:
    before = closure_hash(VP, tree)
    edit(tree, "train/run.py", '"""A trainer that adds one a step."""', '"""Other words."""')
    edit(tree, "train/run.py", "def note(text):", '# why\ndef note(text):\n    """Note."""\n\n')
    edit(tree, "process/vp.py", "RATE = 1", "RATE = (  # a comment\n    1\n)")
    assert closure_hash(VP, tree) == before


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("train/run.py", "* 100", "* 101"),
        ("train/helper.py", "STEP = 1", "STEP = 1.0"),
        ("process/base.py", "annotations\n", "annotations\nX = 'a string that is not first'\n"),
        ("nets/__init__.py", "annotations\n", "annotations\nX = 1\n"),
    ],
)
def test_an_edit_of_any_imported_module_counts(tree: Path, file: str, old: str, new: str) -> None:
    before = closure_hash(VP, tree)
    edit(tree, file, old, new)
    assert closure_hash(VP, tree) != before


def test_editing_one_process_changes_its_own_cells_only(tree: Path) -> None:
    vp, ve = closure_hash(VP, tree), closure_hash(VE, tree)
    edit(tree, "process/vp.py", "RATE = 1", "RATE = 2")
    assert closure_hash(VP, tree) != vp
    assert closure_hash(VE, tree) == ve


def test_every_way_to_import_counts(tree: Path) -> None:
    package = tree / "sgm_core"
    (package / "ways").mkdir()
    for name in ("a", "b", "c", "d", "e", "f", "g"):
        (package / "ways" / f"{name}.py").write_text("X = 1\n")
    (package / "passed").mkdir()
    (package / "passed" / "__init__.py").write_text("from sgm_core.passed import i\n")
    (package / "passed" / "h.py").write_text("X = 1\n")
    (package / "passed" / "i.py").write_text("X = 1\n")
    (package / "ways" / "__init__.py").write_text(
        "def later():\n    from sgm_core.ways import g\n    return g\n"
    )
    (package / "ways" / "run.py").write_text(
        "from __future__ import annotations\n"
        "from sgm_core.ways.a import X\n"
        "from sgm_core.ways import b\n"
        "from sgm_core.passed.h import X\n"
        "from sgm_core.ways.c import X\n"
        "from . import d as dd\n"
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    from sgm_core.ways import f\n"
        "def lazily():\n    from .e import X\n"
    )
    names = {n.rpartition(".")[2] for n in closure(["sgm_core.ways.run"], tree)}
    assert names == {"a", "b", "c", "d", "e", "h", "run", "ways", "passed", "sgm_core"}
    # Using a name *of* a package enters it, with what its functions import.
    for text in (
        "from sgm_core.ways import later\n",
        "import sgm_core.ways.a\n",
        "from . import *\n",
    ):
        (package / "ways" / "run.py").write_text(text)
        assert "sgm_core.ways.g" in closure(["sgm_core.ways.run"], tree), text


def test_a_name_that_becomes_a_module_is_seen(tree: Path) -> None:
    package = tree / "sgm_core" / "train"
    (package / "__init__.py").write_text("extra = 1\n")
    (package / "helper.py").write_text("from sgm_core.train import extra\n\nSTEP = 1\n")
    before = closure_hash(VP, tree)
    (package / "extra.py").write_text("X = 1\n")
    after = closure_hash(VP, tree)
    (package / "extra.py").write_text("X = 23\n")
    assert len({before, after, closure_hash(VP, tree)}) == 3


def test_a_missing_module_and_a_syntax_error_are_named(tree: Path) -> None:
    with pytest.raises(SgmError, match=r"sgm_core\.process\.nix does not exist"):
        closure_hash(["sgm_core.process.nix"], tree)
    edit(tree, "process/vp.py", "RATE = 1", "RATE = = 1")
    with pytest.raises(SgmError, match=r"vp\.py, line 3"):
        closure_hash(VP, tree)


@pytest.mark.skipif(
    not (ROOT / "sgm_core" / "train" / "run.py").exists(), reason="needs the trainer"
)
def test_the_real_trainer_does_not_reach_what_it_must_not() -> None:
    names = set(closure(["sgm_core.train.run", "sgm_core.process.ve", "sgm_core.nets.mlp"]))
    other = {"sgm_core.process.vp", "sgm_core.process.cld", "sgm_core.nets.unet"}
    assert not names & other
    assert not [n for n in names if n.startswith(("sgm_core.evaluate", "sgm_core.report"))]
    # An edit of a sampler evaluates again and trains nothing.
    assert not [n for n in names if n.startswith("sgm_core.sample.")]


def test_the_hash_is_the_same_in_every_process_and_version(tree: Path) -> None:
    for name in ("run.py", "helper.py"):
        (tree / "sgm_core" / "train" / name).write_text(
            "def f(x: int) -> float:\n    return -0.5\n"
        )
    (tree / "sgm_core" / "train" / "__init__.py").write_text("")
    digest = closure_hash(["sgm_core.train.helper"], tree)
    assert digest == HELPER, sys.version


# Made with Python 3.11; other versions must agree.
HELPER = "649e4f010ec2d6fa65cedcd053c2725aae3480a2e6aaddfce02c72a1c7cc5206"
