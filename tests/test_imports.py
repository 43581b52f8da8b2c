"What fmnist.imports promises: one's own code is found, is what its file says, and has a digest."

import sys
import time

import pytest

from fmnist.imports import code_digest, import_path, load_module, named


@pytest.fixture
def folder(tmp_path, monkeypatch):
    "A working directory for modules of one's own, forgotten afterwards."
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield tmp_path
    for name in ("own_nets", "own_needs", "own_parts", "own_parts.width"):
        sys.modules.pop(name, None)


def test_a_module_in_the_working_directory_is_found_and_read_again_when_it_changes(folder):
    path = folder / "own_nets.py"
    path.write_text("def small(seed): return 1\n")
    first = code_digest("own_nets:small")
    assert named("own_nets:small")(0) == 1
    time.sleep(0.01)
    path.write_text("def small(seed): return 22\n")
    assert named("own_nets:small")(0) == 22
    assert code_digest("own_nets") != first


def test_what_it_imports_is_a_part_of_it(folder):
    "Of one's own: a change there is seen, by the digest and by the next call."
    (folder / "own_parts").mkdir()
    (folder / "own_parts" / "__init__.py").write_text("from . import width\nimport json\n")
    (folder / "own_parts" / "width.py").write_text("import own_nets\nWIDTH = 4\n")  # a circle
    source = "import own_parts.width as w\ndef small(): return w.WIDTH\n"
    (folder / "own_nets.py").write_text(source)
    first = code_digest("own_nets:small")
    assert named("own_nets:small")() == 4 and code_digest("own_nets") == first
    (folder / "own_parts" / "width.py").write_text("import own_nets\nWIDTH = 64\n")
    assert code_digest("own_nets") != first and named("own_nets:small")() == 64


def test_every_importer_sees_the_change(folder):
    (folder / "own_parts.py").write_text("W = 1\n")
    for name in ("own_nets", "own_needs"):
        (folder / f"{name}.py").write_text("from own_parts import W\ndef small(): return W\n")
    assert [named(f"{name}:small")() for name in ("own_nets", "own_needs")] == [1, 1]
    (folder / "own_parts.py").write_text("W = 5\n")
    assert [named(f"{name}:small")() for name in ("own_nets", "own_needs")] == [5, 5]


def test_looking_for_imports_runs_nothing(folder, capsys):
    "Neither scripts nor what a function imports when it is called; what cannot be read is no part."
    (folder / "own_needs.py").write_text("print('a script')\ndef main(): pass\n")
    (folder / "own_parts.py").write_text("print 'of another age'\n")
    source = (
        "def small():\n    from own_parts import x\n"
        "if __name__ == '__main__':\n    from own_needs import main\n"
    )
    (folder / "own_nets.py").write_text(source)
    first = code_digest("own_nets:small")
    (folder / "own_needs.py").write_text("print('another script')\n")
    assert code_digest("own_nets:small") == first and not capsys.readouterr().out
    (folder / "own_parts.py").write_text("x = 1\n")
    assert code_digest("own_nets:small") != first


def test_a_module_whose_file_is_gone_is_named(folder):
    path = folder / "own_nets.py"
    path.write_text("def small(seed): return 1\n")
    load_module("own_nets")
    path.unlink()
    with pytest.raises(ValueError, match="own_nets.py, .* is gone"):
        named("own_nets:small")


@pytest.mark.parametrize("path, said", [
    ("own_nets", 'expected the form "module:name"'),
    ("own_nets:", 'expected the form "module:name"'),
    ("nowhere_at_all:small", "there is no module 'nowhere_at_all' in "),
    ("own_nets:large", "own_nets has no 'large'; it has small"),
    ("__main__:small", "%%writefile nets.py"),
])  # fmt: skip
def test_what_cannot_be_found_is_named(folder, path, said):
    (folder / "own_nets.py").write_text("def small(seed): return 1\n")
    with pytest.raises(ValueError) as error:
        named(path)
    assert said in str(error.value)


def test_what_a_module_itself_lacks_is_said_as_python_says_it(folder):
    (folder / "own_needs.py").write_text("import nowhere_at_all\n")
    with pytest.raises(ModuleNotFoundError, match="nowhere_at_all"):
        load_module("own_needs")
    (folder / "nowhere_at_all9.py").write_text("import nowhere_at_all\n")  # a name that begins so
    with pytest.raises(ModuleNotFoundError, match="nowhere_at_all"):
        load_module("nowhere_at_all9")


def test_digests_are_for_code_outside_the_package():
    assert code_digest("fmnist.metrics:Scores") is None
    assert code_digest("numpy.linalg:norm") == __import__("numpy").__version__
    assert code_digest("shutil:copy") == "installed"


def test_a_function_is_named_by_where_it_stands():
    assert import_path(load_module) == "fmnist.imports:load_module"
    assert import_path("nets:small") == "nets:small"
    with pytest.raises(ValueError, match="%%writefile nets.py"):
        import_path(lambda seed: seed)
