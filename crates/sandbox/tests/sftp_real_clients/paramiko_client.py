"""What paramiko is to find when it talks to the SFTP server.

Usage: paramiko_client.py FUNCTION PORT ROOT, in a folder with the files key and known_hosts. ROOT is
the server's folder. Fails with a traceback when something is not as it should be.
"""

import os
import stat
import sys

import paramiko

PORT = int(sys.argv[2])
ROOT = sys.argv[3]
TIMEOUT_SECONDS = 30


def connect(**login):
    client = paramiko.SSHClient()
    client.load_host_keys("known_hosts")
    client.set_missing_host_key_policy(paramiko.RejectPolicy())
    login = login or {"password": "password"}
    client.connect(
        "127.0.0.1",
        PORT,
        "cdr_data",
        look_for_keys=False,
        allow_agent=False,
        timeout=TIMEOUT_SECONDS,
        **login,
    )
    return client


def open_sftp(client=None):
    sftp = (client or connect()).open_sftp()
    sftp.get_channel().settimeout(TIMEOUT_SECONDS)
    return sftp


def expect(error, action, *arguments):
    try:
        action(*arguments)
    except error as raised:
        return raised
    raise AssertionError(f"no {error} from {action}{arguments}")


def local(name):
    return os.path.join(ROOT, name)


def read_local(name):
    with open(local(name), "rb") as file:
        return file.read()


def logins():
    for login in ({"password": "password"}, {"key_filename": "key"}):
        assert open_sftp(connect(**login)).listdir() == []
    expect(paramiko.AuthenticationException, lambda: connect(password="wrong"))
    assert open_sftp().normalize(".") == "/"


def large_files():
    content = bytes(range(256)) * 200_000  # 51 MB
    with open("large", "wb") as file:
        file.write(content)
    sftp = open_sftp()
    assert sftp.put("large", "large").st_size == len(content)
    assert read_local("large") == content
    sftp.get("large", "back")
    with open("back", "rb") as file:
        assert file.read() == content
    # Without waiting for any answer until the end.
    with sftp.open("piped", "wb") as file:
        file.set_pipelined(True)
        for offset in range(0, len(content), 100_000):
            file.write(content[offset : offset + 100_000])
    assert read_local("piped") == content
    with sftp.open("large") as file:
        pieces = file.readv([(0, 10), (51_000_000, 20), (100, 1_000_000)])
        assert [len(piece) for piece in pieces] == [10, 20, 1_000_000]


def modes():
    sftp = open_sftp()
    with sftp.open("a", "wx") as file:
        file.write(b"one")
    expect(OSError, sftp.open, "a", "wx")
    with sftp.open("a", "a") as file:
        file.write(b" two")
    with sftp.open("a", "r+") as file:
        file.write(b"O")
        file.seek(0)
        assert file.read() == b"One two"
    with sftp.open("a", "w") as file:
        file.write(b"new")
    assert read_local("a") == b"new"


def files():
    sftp = open_sftp()
    sftp.mkdir("folder", 0o750)
    assert stat.S_IMODE(os.stat(local("folder")).st_mode) == 0o750
    sftp.chdir("folder")
    names = {f"name {number}" for number in range(300)}
    for name in names:
        with open(local(f"folder/{name}"), "wb") as file:
            file.write(name.encode())
    assert set(sftp.listdir()) == names
    listed = {entry.filename: entry for entry in sftp.listdir_attr()}
    assert set(listed) == {entry.filename for entry in sftp.listdir_iter()} == names
    assert listed["name 17"].st_size == 7
    assert listed["name 17"].longname.startswith("-rw")

    sftp.truncate("name 1", 3)
    sftp.chmod("name 1", 0o600)
    sftp.utime("name 1", (1_000_000_000, 1_100_000_000))
    found = sftp.stat("name 1")
    assert stat.S_IMODE(found.st_mode) == 0o600 and stat.S_ISREG(found.st_mode)
    assert (found.st_atime, found.st_mtime, found.st_size) == (1_000_000_000, 1_100_000_000, 3)

    expect(OSError, sftp.rename, "name 1", "name 2")
    sftp.posix_rename("name 1", "name 2")
    assert read_local("folder/name 2") == b"nam"
    sftp.rename("name 2", "/top")
    sftp.remove("/top")
    for name in sftp.listdir():
        sftp.remove(name)
    sftp.rmdir("/folder")
    assert os.listdir(ROOT) == []


def errors():
    sftp = open_sftp()
    os.symlink("/etc", local("link"))
    expect(FileNotFoundError, sftp.stat, "missing")
    expect(FileNotFoundError, sftp.open, "../../etc/passwd")
    denied = expect(PermissionError, sftp.open, "link")
    assert "symbolic links are not followed" in str(denied), denied
    expect(OSError, sftp.open, "link/passwd")
    exists = expect(OSError, lambda: (sftp.mkdir("a"), sftp.mkdir("a")))
    assert "File exists: /a" in str(exists), exists
    unsupported = expect(OSError, sftp.symlink, "/etc", "new")
    assert "not supported" in str(unsupported), unsupported


def sessions():
    client = connect()
    first, second = open_sftp(client), open_sftp(client)
    with first.open("a", "w") as file:
        file.write(b"x")
        file.flush()
        assert second.stat("a").st_size == 1
    first.close()
    assert second.listdir() == ["a"]


{check.__name__: check for check in (logins, large_files, modes, files, errors, sessions)}[sys.argv[1]]()
