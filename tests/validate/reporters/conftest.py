import pytest


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder to work in, which no repository and no CI system knows of."""
    for name in ("GITHUB_WORKSPACE", "GITHUB_STEP_SUMMARY", "GITHUB_ACTIONS"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path.resolve() / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def mine(here):
    """Write a profile: ``mine(text)``; its path as messages show it is ``provider/mine.yaml``."""

    def write(text, newline="", encoding="utf-8"):
        file = here / "provider" / "mine.yaml"
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, encoding=encoding, newline=newline)
        return file

    return write
