"""Profiles of the AWS tools, certificates and timeouts: with whose words a bucket is reached."""

import json
import shutil
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_s3 import fake_s3

import zarrts
from zarrts.buckets import addresses, aws_profiles
from zarrts.buckets.addresses import make_client, parse_address, translated
from zarrts.buckets.bucket import Bucket
from zarrts.buckets.connections import take_connection
from zarrts.errors import BucketError, PlanError

pytest.importorskip("obstore", reason="the extra cloud is not installed")

VARIABLES = ("ACCESS_KEY_ID", "PROFILE", "DEFAULT_PROFILE", "REGION", "DEFAULT_REGION")
VARIABLES += ("ENDPOINT_URL", "ENDPOINT_URL_S3", "ENDPOINT", "CA_BUNDLE")
Write = Callable[[str, str], None]


@pytest.fixture(autouse=True)
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write the files of the AWS tools, `config` or `credentials`; the environment says nothing."""
    for name in VARIABLES:
        monkeypatch.delenv(f"AWS_{name}", raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    return lambda name, text: (tmp_path / name).write_text(text) and None


def words(place: str = "s3://lab/a.zarr", **options: Any) -> dict[str, Any]:
    return translated(parse_address(place, options)[0])


def client_options(kind: str = "s3", **options: Any) -> dict[str, Any]:
    found = take_connection(options, kind)
    assert options == {}
    return found


# Profiles ----------------------------------------------------------------------------------------

KEYS = "aws_access_key_id = {0}\naws_secret_access_key = s\n"


def test_keys_of_a_profile_are_found_in_both_files(write: Write) -> None:
    write("config", f"[profile lab]\nregion = eu-1\n{KEYS.format('old')}[default]\nregion = us-9\n")
    write("credentials", f"[lab]\n{KEYS.format('new')}")
    assert words(profile="lab") == {
        "access_key_id": "new",
        "secret_access_key": "s",
        "region": "eu-1",
    }
    assert words() == {"region": "us-9"}


def test_the_environment_names_a_profile_that_has_to_exist(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("config", f"[profile lab]\n{KEYS.format('k')}")
    monkeypatch.setenv("AWS_PROFILE", "lab")
    assert words()["access_key_id"] == "k"
    monkeypatch.setenv("AWS_PROFILE", "gone")
    with pytest.raises(PlanError, match=r"no profile 'gone' in .*config or .*credentials"):
        words()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "of the environment")
    assert words() == {}


def test_what_the_environment_says_of_a_place_comes_before_the_profile(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("config", f"[default]\nregion = eu-1\nendpoint_url = https://s3.lab\n{KEYS.format('k')}")
    assert (words()["region"], words()["endpoint"]) == ("eu-1", "https://s3.lab")
    assert words(endpoint_url="https://other")["endpoint"] == "https://other"
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-9")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://third")
    assert not {"region", "endpoint"} & words().keys()


def test_a_file_that_cannot_be_read_is_named_and_not_quoted(write: Write) -> None:
    write("credentials", "hidden secret\n")
    with pytest.raises(PlanError, match=r"credentials cannot be read \(MissingSection") as caught:
        words(profile="lab")
    assert "hidden" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    "setting",
    ["role_arn = arn\nsource_profile = default", "sso_session = lab", "credential_process = ask"],
)
def test_without_boto3_the_extra_is_named(
    write: Write, setting: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("config", f"[profile lab]\n{setting}\n")
    monkeypatch.setattr(aws_profiles, "find_spec", lambda name: None)
    asked_by = setting.partition(" ")[0]
    text = rf"profile 'lab' gets its credentials by {asked_by}, .*pip install 'zarrts\[aws\]'"
    with pytest.raises(ImportError, match=text):
        zarrts.open("s3://lab/a.zarr", storage_options={"profile": "lab"})


def test_keys_in_a_profile_come_before_a_program_and_after_a_role(write: Write) -> None:
    write("credentials", f"[one]\ncredential_process = ask\n{KEYS.format('k')}")
    assert words(profile="one")["access_key_id"] == "k"
    pytest.importorskip("boto3")
    write("credentials", f"[two]\nrole_arn = arn\n{KEYS.format('k')}")
    found = words(profile="two")
    assert "access_key_id" not in found
    assert found["profile"].asked_by == "role_arn"


def process(tmp_path: Path, text: str) -> str:
    """Return a setting that runs a program which says something."""
    (tmp_path / "ask.py").write_text(text)
    return f'credential_process = "{sys.executable}" "{tmp_path / "ask.py"}"\n'


def test_a_program_is_asked_for_credentials(
    tmp_path: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("boto3", reason="the extra aws is not installed")
    said = {"Version": 1, "AccessKeyId": "of-a-program", "SecretAccessKey": "s"}
    asked = process(tmp_path, f"print({json.dumps(json.dumps(said))})")
    write("config", f"[profile lab]\nregion = eu-1\n{asked}")
    monkeypatch.setenv("AWS_PROFILE", "lab")
    with fake_s3() as fake:
        recordings = [zarrts.Recording("anna", [[1.0, 2.0], [3.0, 4.0]], [0, 1])]
        options = {"endpoint_url": fake.url}
        store = zarrts.convert(
            recordings, "s3://lab/a.zarr", kind="dense", progress=False, storage_options=options
        )
        assert store.n_samples == 2
        store.close()
        assert fake.access_keys == {"of-a-program"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("raise SystemExit('hidden')", "by credential_process .*aws sts get-caller-identity"),
        ("print('hidden')", "by credential_process"),
    ],
)
def test_a_program_that_fails_is_not_quoted(
    tmp_path: Path, write: Write, text: str, said: str
) -> None:
    pytest.importorskip("boto3", reason="the extra aws is not installed")
    write("config", f"[profile lab]\nregion = eu-1\n{process(tmp_path, text)}")
    with pytest.raises(
        BucketError, match=f"the profile lab: gives no credentials {said}"
    ) as caught:
        make_client(parse_address("s3://lab/a.zarr", {"profile": "lab"})[0])
    assert "hidden" not in "".join(traceback.format_exception(caught.value))


def test_a_sign_in_that_has_ended_is_said(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("boto3", reason="the extra aws is not installed")
    sso = "sso_start_url = https://lab\nsso_region = eu-1\nsso_account_id = 1\nsso_role_name = r\n"
    write("config", f"[profile lab]\nregion = eu-1\n{sso}")
    with pytest.raises(BucketError, match="sign in again: aws sso login --profile lab"):
        make_client(parse_address("s3://lab/a.zarr", {"profile": "lab"})[0])


# Words -------------------------------------------------------------------------------------------


def test_s3a_is_s3_in_options_as_well() -> None:
    options = {"s3://lab": {"key": "k"}, "key": "of all others"}
    for place in ("s3://lab/a.zarr", "s3a://lab/a.zarr", "S3A://lab/a.zarr"):
        assert addresses.options_for(place, options) == {"key": "k"}
    options = {"s3a://lab/": {"key": "k"}, "gcs://lab": {"token": "anon"}}
    assert addresses.options_for("s3://lab/a.zarr", options) == {"key": "k"}
    assert addresses.options_for("gs://lab/a.zarr", options) == {"token": "anon"}
    addresses.warn_of_unused(options, ["s3://lab/a.zarr", "gs://lab/a.zarr"])


def test_connections_are_told_in_the_words_of_boto_and_of_obstore(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_bytes(b"a certificate")
    path = str(tmp_path / "ca.pem")
    assert client_options(verify=path) == {"root_certificate": b"a certificate"}
    assert client_options("az", root_certificate=path) == {"root_certificate": b"a certificate"}
    assert client_options(verify=False) == {"allow_invalid_certificates": True}
    assert client_options(verify="false") == {"allow_invalid_certificates": True}
    assert client_options(verify=True) == {"allow_invalid_certificates": False}
    text = "-----BEGIN CERTIFICATE-----"
    assert client_options("gs", root_certificate=text) == {"root_certificate": text}
    config = {"connect_timeout": 2, "read_timeout": 1.5, "retries": {"max_attempts": 9}}
    config["proxies"] = {"https": "http://proxy:3128"}
    assert client_options(config_kwargs=config) == {
        "connect_timeout": "2000ms",
        "read_timeout": "1500ms",
        "proxy_url": "http://proxy:3128",
    }
    assert client_options("http", read_timeout="20", connect_timeout="1m") == {
        "read_timeout": "20000ms",
        "connect_timeout": "1m",
    }
    found = words(client_kwargs={"verify": path, "region_name": "eu"})
    assert found == {"region": "eu", "client_options": {"root_certificate": b"a certificate"}}


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"verify": "gone.pem"}, r"root_certificate: the file of certificates 'gone\.pem' cannot"),
        ({"client_options": {"certs": "hidden"}}, "the client option 'certs' is unknown"),
        ({"root_certificate": b"hidden"}, r"s3://lab: obstore cannot .* root_certificate \(Value"),
        ({"read_timeout": "hidden"}, r"s3://lab: obstore cannot make use of .* read_timeout \("),
    ],
)
def test_connections_that_cannot_be(options: Any, text: str) -> None:
    with pytest.raises(PlanError, match=text) as caught:
        make_client(parse_address("s3://lab/a.zarr", options)[0])
    assert "hidden" not in "".join(traceback.format_exception(caught.value))


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """An authority of this test's, and a certificate of this machine's by it, with its key."""
    if shutil.which("openssl") is None:
        pytest.skip("certificates are made by openssl, which is not on the PATH")
    folder = tmp_path_factory.mktemp("certificates")
    (folder / "more").write_text("subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n")
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    for command in (
        ["req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=a lab"],
        ["req", *key, "-keyout", "its.key", "-out", "its.csr", "-subj", "/CN=127.0.0.1"],
        [
            *("x509", "-req", "-in", "its.csr", "-CA", "ca.pem", "-CAkey", "ca.key"),
            *("-CAcreateserial", "-days", "2", "-extfile", "more", "-out", "its.pem"),
        ],
    ):
        subprocess.run(["openssl", *command], cwd=folder, check=True, capture_output=True)
    both = folder / "both.pem"
    both.write_bytes((folder / "its.pem").read_bytes() + (folder / "its.key").read_bytes())
    return folder / "ca.pem", both


def test_a_server_with_a_certificate_of_its_own_is_reached(
    certificates: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    authority, both = certificates

    def get(options: dict[str, Any]) -> bytes:
        address = parse_address("s3://lab/a", fake.options | options)[0]
        return Bucket(address, deadline_s=0.1).get("a")

    with fake_s3(both) as fake:
        fake.objects["a"] = b"content"
        with pytest.raises(BucketError, match="the connection failed"):
            get({})
        for options in (
            {"root_certificate": str(authority)},
            {"root_certificate": authority.read_text()},
            {"client_kwargs": {"verify": str(authority)}},
            {"verify": False},
        ):
            assert get(options) == b"content"
        monkeypatch.setenv("AWS_CA_BUNDLE", str(authority))
        assert get({}) == b"content"


def test_a_server_that_says_nothing_is_given_up() -> None:
    with fake_s3() as fake:
        fake.objects["a"] = b"content"
        fake.fault, fake.slow_s = lambda method, key: "slow", 2.0
        address = parse_address("s3://lab/a", fake.options | {"read_timeout": 0.1})[0]
        with pytest.raises(BucketError, match="no answer in time"):
            Bucket(address, deadline_s=0.1).get("a")
