"""Which app acsid calls, and with which key."""

import os
from pathlib import Path

import pytest
from acsid.failures import Failure
from acsid.profile import Target, address, find_target

from tests.cli.conftest import Run
from tests.cli.service import KEY, Service

URL = "https://app.azurewebsites.net"


def write(path: Path, text: str, mode: int = 0o600) -> Path:
    """Writes a file that a key may be in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


def profiles(home: Path, text: str, mode: int = 0o600) -> dict[str, str]:
    """Writes the profile file and returns the environment."""
    write(home / ".config" / "acsid" / "profiles.toml", text, mode)
    return {"XDG_CONFIG_HOME": str(home / ".config")}


@pytest.mark.parametrize(
    ("text", "accepted"),
    [
        (URL, URL),
        (f"{URL}/", URL),
        (f" {URL}:8443\n", f"{URL}:8443"),
        ("HTTPS://App.Azurewebsites.NET", URL),
        ("http://localhost:7071", "http://localhost:7071"),
        ("http://127.0.0.1:7071/", "http://127.0.0.1:7071"),
        ("http://127.9.9.9", "http://127.9.9.9"),
        ("http://[::1]:7071", "http://[::1]:7071"),
    ],
)
def test_accepted_addresses(text: str, accepted: str) -> None:
    """An address is https, or http on this machine."""
    assert address(text, "ACSID_URL") == accepted


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("http://app.azurewebsites.net", "unencrypted"),
        ("http://localhost.example.com", "unencrypted"),
        ("http://127.0.0.1.example.com", "unencrypted"),
        ("http://10.0.0.1", "unencrypted"),
        ("http://0.0.0.0:7071", "unencrypted"),
        (f"{URL}/api", "without /api"),
        (f"{URL}/api/", "without /api"),
        (f"{URL}/other", "more than a host"),
        (f"{URL}?code=secret", "more than a host"),
        (f"{URL}#x", "more than a host"),
        ("https://user:secret@app.azurewebsites.net", "not the address"),
        ("app.azurewebsites.net", "not the address"),
        ("ftp://app.azurewebsites.net", "not the address"),
        ("https://", "not the address"),
        ("https://app:port", "not an address"),
        ("", "not the address"),
    ],
)
def test_refused_addresses(text: str, reason: str) -> None:
    """Any other address is refused, with the reason."""
    with pytest.raises(Failure, match=reason):
        address(text, "ACSID_URL")


def test_the_environment_names_the_app() -> None:
    """ACSID_URL and ACSID_KEY are enough."""
    target = find_target({"ACSID_URL": URL, "ACSID_KEY": "key\n"})

    assert target == Target(URL, "key")


def test_a_key_is_not_shown() -> None:
    """A target can be printed without its key."""
    assert "secret" not in repr(Target(URL, "secret"))


@pytest.mark.parametrize("key", [" ", "two words", "schlüssel", "a\nb", "a\x00b"])
def test_what_is_no_key(key: str) -> None:
    """A text that cannot be a key is refused before it is sent."""
    with pytest.raises(Failure, match="holds no key"):
        find_target({"ACSID_URL": URL, "ACSID_KEY": key})


def test_a_key_file(tmp_path: Path) -> None:
    """The key of the environment's address can be in a file."""
    file = write(tmp_path / "key", "from-file\n")

    assert find_target({"ACSID_URL": URL}, None, file).key == "from-file"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o620])
def test_a_key_file_that_others_can_read(tmp_path: Path, mode: int) -> None:
    """A file with a key must be accessible to its owner only."""
    file = write(tmp_path / "key", "from-file", mode)

    with pytest.raises(Failure, match="other users") as failure:
        find_target({"ACSID_URL": URL}, None, file)
    assert failure.value.hint == f"chmod 600 {file}"


def test_a_key_from_a_pipe(tmp_path: Path) -> None:
    """A pipe, as bash makes it for <(command), can have the key."""
    reading, writing = os.pipe()
    os.write(writing, b"from-pipe\n")
    os.close(writing)
    target = find_target({"ACSID_URL": URL}, None, Path(f"/dev/fd/{reading}"))
    os.close(reading)

    assert target.key == "from-pipe"


def test_the_default_profile(tmp_path: Path) -> None:
    """Without the environment, the profile `default` names the app."""
    environ = profiles(tmp_path, f'[default]\nurl = "{URL}"\nkey = "key"\n')

    assert find_target(environ) == Target(URL, "key", "url of profile default")


def test_another_profile(tmp_path: Path) -> None:
    """A profile that is named wins over the environment, with its own key."""
    text = f'[test]\nurl = "{URL}"\nkey_file = "test.key"\n'
    environ = profiles(tmp_path, text) | {"ACSID_URL": "https://other", "ACSID_KEY": "other"}
    write(tmp_path / ".config" / "acsid" / "test.key", "of-test")
    target = find_target(environ, "test")

    assert (target.url, target.key) == (URL, "of-test")


def test_the_environment_chooses_a_profile(tmp_path: Path) -> None:
    """ACSID_PROFILE is the same as --profile."""
    environ = profiles(tmp_path, f'[test]\nurl = "{URL}"\nkey = "key"\n')

    assert find_target(environ | {"ACSID_PROFILE": "test"}).url == URL


def test_the_key_of_a_profile_is_not_sent_elsewhere(tmp_path: Path) -> None:
    """An address from the environment never gets the key of a profile."""
    environ = profiles(tmp_path, f'[default]\nurl = "{URL}"\nkey = "key"\n')

    with pytest.raises(Failure, match="no key for it"):
        find_target(environ | {"ACSID_URL": "https://other.example.com"})


def test_two_choices_contradict_each_other(tmp_path: Path) -> None:
    """A profile and an address in the environment are not combined."""
    with pytest.raises(Failure, match="Both ACSID_PROFILE and"):
        find_target({"ACSID_URL": URL, "ACSID_KEY": "key", "ACSID_PROFILE": "test"})


def test_a_key_without_an_address() -> None:
    """A key in the environment needs an address there."""
    with pytest.raises(Failure, match="ACSID_URL is not"):
        find_target({"ACSID_KEY": "key"})


@pytest.mark.parametrize("mode", [0o644, 0o640])
def test_a_profile_file_that_others_can_read(tmp_path: Path, mode: int) -> None:
    """The profile file must be accessible to its owner only."""
    environ = profiles(tmp_path, f'[default]\nurl = "{URL}"\nkey = "key"\n', mode)

    with pytest.raises(Failure, match="other users"):
        find_target(environ)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[default", "not valid TOML"),
        ("", "has no profile default"),
        ('[default]\nkey = "key"', "url is missing"),
        (f'[default]\nurl = "{URL}"\npassword = "x"', "password"),
        (f'[default]\nurl = "{URL}"\nkey = 5', "key"),
        (f'[default]\nurl = "{URL}"', "has no key"),
        (f'[default]\nurl = "{URL}"\nkey = "x"\nkey_file = "y"', "both key and key_file"),
        ('[default]\nurl = "http://example.com"\nkey = "key"', "unencrypted"),
    ],
)
def test_an_invalid_profile(tmp_path: Path, text: str, reason: str) -> None:
    """What is wrong with a profile is said."""
    with pytest.raises(Failure, match=reason):
        find_target(profiles(tmp_path, text))


def test_a_value_is_no_profile(acsid: Run, tmp_path: Path) -> None:
    """A profile is a section: what else has its name is not listed as one."""
    profiles(tmp_path, 'default = 1\n[mine]\nurl = "x"\n')
    ended = acsid("list", env={})

    assert "has no profile default: that is a section, [default]." in ended.errors
    assert "It has: mine." in ended.errors


def test_a_token_that_cannot_be_one(acsid: Run, service: Service) -> None:
    """A token is not called a key."""
    ended = acsid("list", env={"ACSID_URL": service.url, "ACSID_TOKEN": "a b"})

    assert ended.code == 2
    assert "ACSID_TOKEN holds no token: a token is one word of ASCII characters." in ended.errors


def test_no_app_is_known(acsid: Run) -> None:
    """Without any address, the message says how to set one: exit code 2."""
    ended = acsid("list", env={})

    assert ended.code == 2
    assert "Set ACSID_URL and ACSID_KEY" in ended.errors


def test_commands_use_a_profile(acsid: Run, service: Service, tmp_path: Path) -> None:
    """`--profile` stands before the command."""
    profiles(tmp_path, f'[mine]\nurl = "{service.url}"\nkey = "{KEY}"\n')
    ended = acsid("--profile", "mine", "list", env={})

    assert ended.code == 0, ended.errors


@pytest.mark.parametrize("option", ["--key", "--function-key", "--master-key", "--url"])
def test_a_key_is_never_an_argument(acsid: Run, option: str) -> None:
    """Other users of the machine can see arguments, so there is no option for a key."""
    ended = acsid(option, "x", "list")

    assert ended.code == 2
    assert "No such option" in ended.errors
