"""Where things lie: never on the current folder, never beside an installed package, whatever characters a path has."""

from __future__ import annotations

import sqlite3
import unicodedata
from pathlib import Path

import pytest

from convoforge.errors import ConfigError
from convoforge.ledger import Ledger
from convoforge.ledger.runs import read_runs
from convoforge.project import find_project, read_database_url, show_database
from convoforge.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
NAMES = [
    "ws_feature%2Fx",
    "100%25 data",
    "50%",
    "run?a",
    "run?a=b&c",
    "a#b",
    "a b",
    " lead",
    'it\'s "quoted"',
    "two\nlines",
    "tab\t",
    "Zoë-データ-😀",
    "a+b",
    "a;b&c=d",
    "[brackets]{}",
    "-dash",
    "~tilde",
    "a:b@c",
    "back\\slash",
    "sqlite:",
]


@pytest.fixture
def own_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project somewhere, with the current folder deep inside it."""
    for name in ("CONVOFORGE_DATA_DIR", "CONVOFORGE_CONFIG_DIR", "CONVOFORGE_DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "mine" / "deep" / "deeper").mkdir(parents=True)
    (tmp_path / "mine" / "convoforge.toml").touch()
    monkeypatch.chdir(tmp_path / "mine" / "deep" / "deeper")
    return tmp_path / "mine"


@pytest.mark.parametrize("name", NAMES)
def test_the_ledger_lies_in_the_data_folder_whatever_it_is_called(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONVOFORGE_DATA_DIR", str(tmp_path / name))
    settings = Settings()
    with Ledger(settings.database_url) as ledger:
        assert list(ledger.read(read_runs)) == []
    assert [path.relative_to(tmp_path) for path in tmp_path.rglob("*.db")] == [Path(name) / "ledger.db"]
    assert show_database(settings.database_url) == str(tmp_path / name / "ledger.db")
    monkeypatch.setenv("CONVOFORGE_DATABASE_URL", settings.database_url)  # as a child gets it
    assert Settings().database_url == settings.database_url
    assert read_database_url(read_database_url(settings.database_url)) == settings.database_url


def test_two_folders_never_share_a_ledger(tmp_path: Path) -> None:
    urls = {Settings(data_dir=tmp_path / name).database_url for name in NAMES}
    for url in urls:
        Ledger(url).close()
    assert len(list(tmp_path.rglob("ledger.db"))) == len(urls) == len(NAMES)


def test_an_error_names_the_path_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "ws_feature%2Fx"
    folder.mkdir()
    (folder / "ledger.db").write_text("certainly not a database, and long enough to be read as one" * 100)
    with pytest.raises(Exception, match=r"the ledger at .*/ws_feature%2Fx/ledger.db cannot be opened"):
        Ledger(Settings(data_dir=folder).database_url)


def test_relative_is_relative_to_the_project(own_project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_project() == own_project
    assert (Settings().data_dir, Settings().config_dir) == (own_project / "data", own_project / "configs")
    for folder in (own_project, own_project / "deep"):
        monkeypatch.chdir(folder)
        monkeypatch.setenv("CONVOFORGE_DATA_DIR", "my data")
        monkeypatch.setenv("CONVOFORGE_CONFIG_DIR", "../configs")
        assert Settings().data_dir == own_project / "my data"
        assert Settings().config_dir == own_project / ".." / "configs"
        assert show_database(Settings().database_url) == str(own_project / "my data" / "ledger.db")
        monkeypatch.setenv("CONVOFORGE_DATABASE_URL", "sqlite:///led.db")
        assert show_database(Settings().database_url) == str(own_project / "led.db")
        monkeypatch.delenv("CONVOFORGE_DATABASE_URL")


def test_the_repository_is_a_project_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_project() == ROOT
    monkeypatch.chdir("/")
    assert find_project() == ROOT


def test_without_a_project_one_line_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("convoforge.project.REPOSITORY", tmp_path / "site-packages")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CONVOFORGE_DATA_DIR", raising=False)
    with pytest.raises(ConfigError, match="no project here: .*convoforge.toml.*CONVOFORGE_DATA_DIR and CONVOFORGE_CONFIG_DIR"):
        Settings()
    monkeypatch.setenv("CONVOFORGE_DATA_DIR", str(tmp_path / "d"))
    monkeypatch.setenv("CONVOFORGE_CONFIG_DIR", str(tmp_path / "c"))
    assert Settings().data_dir == tmp_path / "d"
    assert list(tmp_path.iterdir()) == []


def test_a_current_folder_that_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert find_project() == ROOT


def test_dotenv_lies_in_the_project(own_project: Path) -> None:
    (own_project / ".env").write_text(
        "CONVOFORGE_DATA_DIR='~/data'\nANTHROPIC_MODEL=from-dotenv\nCONVOFORGE_DATABASE_URL=sqlite:///~/x.db\n"
    )
    settings = Settings()
    assert settings.model == "from-dotenv"
    assert settings.data_dir == Path.home() / "data"
    assert show_database(settings.database_url) == str(Path.home() / "x.db")


def test_home_is_expanded(own_project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(own_project / "home"))
    monkeypatch.setenv("CONVOFORGE_DATA_DIR", "~/data")
    monkeypatch.setenv("CONVOFORGE_CONFIG_DIR", "file:///~/con%20figs")
    assert Settings().data_dir == own_project / "home" / "data"
    assert Settings().config_dir == own_project / "home" / "con figs"
    Ledger("sqlite:///~/x.db").close()
    assert [path.name for path in (own_project / "home").iterdir()] == ["x.db"]
    monkeypatch.setenv("CONVOFORGE_DATA_DIR", "~nobody-of-this-name/data")
    with pytest.raises(ConfigError, match="CONVOFORGE_DATA_DIR=~nobody-of-this-name/data: no such user"):
        Settings()


def test_an_empty_variable_is_none(own_project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CONVOFORGE_DATA_DIR", "CONVOFORGE_CONFIG_DIR", "CONVOFORGE_DATABASE_URL", "ANTHROPIC_API_KEY"):
        monkeypatch.setenv(name, "")
    assert Settings().data_dir == own_project / "data"
    assert Settings().keys == ()


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("sqlite:////srv/run?a/ledger.db", "takes no options; a '[?]' in its path is written %3F"),
        ("sqlite://data/ledger.db", "write sqlite:///PATH, with three slashes"),
        ("sqlite:////tmp%25x/\udcff.db", "not UTF-8"),
    ],
)
def test_an_address_that_would_be_read_as_another_is_refused(written: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Settings(database=written)


def test_a_percent_that_was_not_meant_as_an_escape_is_told(tmp_path: Path) -> None:
    (tmp_path / "ws%2Fx").mkdir()
    with pytest.raises(ConfigError, match="write %25 for each '%' of the path"):
        Settings(database=f"sqlite:///{tmp_path}/ws%2Fx/ledger.db")
    right = Settings(database=f"sqlite:///{tmp_path}/ws%252Fx/ledger.db")
    assert show_database(right.database_url) == f"{tmp_path}/ws%2Fx/ledger.db"


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("file://data", "write file:///PATH"),
        ("file:data", "write file:///PATH"),
        ("file:///a?b", "write %3F"),
        ("file:///a#b", "%23"),
    ],
)
def test_a_file_address_that_is_no_folder(written: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("CONVOFORGE_DATA_DIR", "CONVOFORGE_CONFIG_DIR"):
        with monkeypatch.context() as patch, pytest.raises(ConfigError, match=message):
            patch.setenv(variable, written)
            Settings()


def test_a_config_folder_cannot_be_in_a_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONVOFORGE_CONFIG_DIR", "s3://bucket/configs")
    with pytest.raises(ConfigError, match="CONVOFORGE_CONFIG_DIR=s3://bucket/configs: .*local folder"):
        Settings()


@pytest.mark.parametrize(("there", "asked"), [("NFD", "NFC"), ("NFC", "NFD")])
def test_a_folder_is_found_in_either_unicode_form(there: str, asked: str, tmp_path: Path) -> None:
    held = tmp_path / unicodedata.normalize(there, "Zoë") / unicodedata.normalize(there, "Größe")
    held.mkdir(parents=True)
    written = str(tmp_path / unicodedata.normalize(asked, "Zoë/Größe"))
    assert Settings(data_dir=written, config_dir=written).data_dir == held
    Ledger(Settings(data_dir=written).database_url).close()
    assert sqlite3.connect(held / "ledger.db").execute("SELECT count(*) FROM runs").fetchone() == (0,)
    assert len(list(tmp_path.iterdir())) == 1


def test_passwords_are_not_shown() -> None:
    assert show_database("postgresql://somebody:s3cret@h/db") == "postgresql://somebody:***@h/db"
