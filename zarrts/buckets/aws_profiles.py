"""Profiles of the AWS tools: what ~/.aws/config and ~/.aws/credentials say of one.

Keys that stand there are taken as they are. Credentials that have to be asked for, by single
sign-on, of a role or of a program, are left to boto3, where it is installed.
"""

import errno
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from zarrts.errors import BucketError, PlanError

# Of these botocore takes the first that a profile has before the keys in it, and the rest after.
_BEFORE_KEYS = ("role_arn", "sso_session", "sso_start_url")
_AFTER_KEYS = ("credential_process", "login_session")
_KEYS = {
    "aws_access_key_id": "access_key_id",
    "aws_secret_access_key": "secret_access_key",
    "aws_session_token": "session_token",
}
# The environment comes before what a file says of these.
_PLACES = {
    "region": ("region", ("AWS_REGION", "AWS_DEFAULT_REGION")),
    "endpoint_url": ("endpoint", ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")),
}
# Shorter than any credentials are valid: boto3 keeps them, and renews them in time.
_KEPT_FOR = timedelta(minutes=5)


@dataclass(frozen=True)
class Profile:
    """The settings of a profile.

    Attributes
    ----------
    name : str
    asked_by : str, or None
        The setting by which credentials have to be asked for; None where they stand there.
    options : dict
        In the words of obstore; in no representation, because they may be secret.
    """

    name: str
    asked_by: str | None
    options: Mapping[str, str] = field(repr=False)


def find_profile(name: str | None) -> Profile | None:
    """Return a profile: the one named, that of AWS_PROFILE, or the default one, if there is one.

    None where no profile is named, and the environment has keys.

    Raises
    ------
    PlanError
        If there is no profile of a name that somebody gave, or a file cannot be read.
    ImportError
        If its credentials have to be asked for, and boto3 is not installed; names the extra.
    """
    if name is None and os.environ.get("AWS_ACCESS_KEY_ID"):
        return None
    named = name or os.environ.get("AWS_PROFILE") or os.environ.get("AWS_DEFAULT_PROFILE")
    wanted = named or "default"
    config, credentials = _path_of("config"), _path_of("credentials")
    in_config = "default" if wanted == "default" else f"profile {wanted}"
    section = _section(config, in_config) | _section(credentials, wanted)
    if not section:
        if named:
            raise PlanError(f"There is no profile {named!r} in {config} or {credentials}.")
        return None
    has_keys = "aws_access_key_id" in section
    kinds = _BEFORE_KEYS if has_keys else (*_BEFORE_KEYS, *_AFTER_KEYS)
    asked_by = next((it for it in kinds if it in section), None)
    options = {} if asked_by else {_KEYS[it]: section[it] for it in _KEYS if it in section}
    for setting, (word, variables) in _PLACES.items():
        if setting in section and not any(os.environ.get(it) for it in variables):
            options[word] = section[setting]
    if asked_by and find_spec("boto3") is None:
        raise ImportError(
            f"The profile {wanted!r} gets its credentials by {asked_by}, which needs boto3: "
            "python -m pip install 'zarrts[aws]'"
        )
    return Profile(wanted, asked_by, options)


def provider_of(profile: Profile) -> Callable[[], Any]:
    """Return what obstore asks for credentials of a profile, now and when they run out.

    Raises
    ------
    BucketError
        If there are none, as after the end of a session of single sign-on.
    """
    import boto3
    from obstore.auth.boto3 import Boto3CredentialProvider

    try:
        session = boto3.Session(profile_name=profile.name)
        provider: Callable[[], Any] = Boto3CredentialProvider(session, ttl=_KEPT_FOR)
        provider()
    # Whatever a program or a server says may hold what is secret: nothing of it is shown.
    except Exception as error:
        remedy = f"aws sts get-caller-identity --profile {profile.name} says why"
        if profile.asked_by and profile.asked_by.startswith("sso"):
            remedy = f"sign in again: aws sso login --profile {profile.name}"
        raise BucketError(
            errno.EACCES,
            f"gives no credentials by {profile.asked_by} ({type(error).__name__}); {remedy}",
            f"the profile {profile.name}",
        ) from None
    return provider


def _path_of(kind: str) -> Path:
    variable = {"config": "AWS_CONFIG_FILE", "credentials": "AWS_SHARED_CREDENTIALS_FILE"}[kind]
    return Path(os.environ.get(variable) or Path("~/.aws") / kind).expanduser()


def _section(path: Path, name: str) -> dict[str, str]:
    """Return what a section of a file says; nothing where one of them is missing."""
    import configparser

    parser = configparser.RawConfigParser(strict=False, default_section="")
    try:
        parser.read(path, encoding="utf-8")
    except (configparser.Error, UnicodeDecodeError) as error:
        # Its message quotes the line.
        raise PlanError(f"{path} cannot be read ({type(error).__name__}).") from None
    return dict(parser[name]) if parser.has_section(name) else {}
