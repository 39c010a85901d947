"""Signed bundles: an Ed25519 signature of `manifest.json`, which holds the SHA-256 of every other file of the bundle.

A manifest proves that files belong together, not where they come from: whoever can write a plan can write its manifest.
While a public key is set, nothing is opened that the holder of its private key has not signed.

`manifest.sig` is one line, `crosspoint.signature/1 FINGERPRINT SIGNATURE`: the SHA-256 of the public key in DER, in
hexadecimal, and the 64 bytes of the signature in base64. What is signed is `CONTEXT` followed by the manifest's bytes.
"""

import base64
import contextlib
import hashlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crosspoint.core.errors import InputError, require
from crosspoint.core.reading import read_bytes, reason_of

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

SIGNATURE = "manifest.sig"
VARIABLE = "CROSSPOINT_VERIFY_KEY"
SET = f"{VARIABLE} or --verify-key is set"
CONTEXT = b"crosspoint.manifest/1\0"  # so that a signature is of a manifest and of nothing else the key may sign
FORM = re.compile(rb"crosspoint\.signature/1 ([0-9a-f]{64}) ([A-Za-z0-9+/]{86}==)\n")
KEY_BYTES, SIGNATURE_BYTES = 1 << 16, 1 << 10  # most of a key's file and of a signature's
KeyFiles = Path | str | Sequence[Path | str]


@dataclass(frozen=True)
class SigningKey:
    """A private key.

    Attributes:
        private: Of the package `cryptography`.
        fingerprint: Of its public key.
    """

    private: "Ed25519PrivateKey"
    fingerprint: str

    def sign(self, manifest: bytes) -> bytes:
        """The content of `manifest.sig`."""
        signature = base64.b64encode(self.private.sign(CONTEXT + manifest)).decode()
        return f"crosspoint.signature/1 {self.fingerprint} {signature}\n".encode()


@dataclass(frozen=True)
class VerifyKeys:
    """The public keys of which one has to have signed whatever is opened.

    Attributes:
        by_fingerprint: At least one.
    """

    by_fingerprint: Mapping[str, "Ed25519PublicKey"]

    def require_signature(self, path: Path, manifest: bytes) -> None:
        """Check the signature that lies beside a manifest.

        Args:
            path: The manifest's.
            manifest: Its bytes, which have not been parsed yet.

        Raises:
            InputError: There is no signature, or it is damaged, of another key, or of another manifest.
        """
        file = path.with_name(SIGNATURE)
        if not os.path.lexists(file):
            raise InputError(
                f"{path.parent} is not signed: it holds no {SIGNATURE}, and {SET}; nothing was opened: give a bundle "
                "of crosspoint export --sign KEY"
            )
        match = FORM.fullmatch(read_bytes(file, SIGNATURE_BYTES))
        signature = b"" if match is None else base64.b64decode(match[2])
        if match is None or base64.b64encode(signature) != match[2]:
            raise InputError(f"{file} is damaged or not a signature of crosspoint export; nothing was opened")
        fingerprint = match[1].decode()
        key = self.by_fingerprint.get(fingerprint)
        if key is None:
            known = " or ".join(f"{name[:16]}…" for name in self.by_fingerprint)
            raise InputError(
                f"{path.parent} was signed with the key {fingerprint[:16]}…, and {known} has to have signed it; "
                "nothing was opened: get the bundle from whoever holds that key"
            )
        if not _is_valid(key, signature, CONTEXT + manifest):
            raise InputError(
                f"{path} is not what the key {fingerprint[:16]}… signed: it or {SIGNATURE} was changed; nothing was "
                "opened: copy the bundle again"
            )


def _is_valid(key: "Ed25519PublicKey", signature: bytes, message: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature

    try:
        key.verify(signature, message)
    except InvalidSignature:
        return False
    return True


def find_key_files(given: KeyFiles | None = None) -> tuple[Path, ...]:
    """The public keys that are set, as absolute paths; none where no key is set.

    Args:
        given: One file or several; by default those that `CROSSPOINT_VERIFY_KEY` names, with `:` between them.

    Raises:
        InputError: The setting is there and empty, which is no way to switch it off.
    """
    if given is None:
        text = os.environ.get(VARIABLE)
        if text is None:
            return ()
        given = text.split(os.pathsep)
    files = [given] if isinstance(given, str | Path) else list(given)
    if not files or not all(str(file) for file in files):
        raise InputError(f"{SET}, and an entry of it is empty; give public keys of crosspoint keygen, or unset it")
    return tuple(Path(file).absolute() for file in files)


def find_verify_keys(given: KeyFiles | None = None) -> VerifyKeys | None:
    """The public keys that are set, read; None where no key is set.

    Raises:
        InputError: As `find_key_files`, or a file holds no Ed25519 public key.
        MissingDependency: A key is set, and the package `cryptography` is not installed.
    """
    files = find_key_files(given)
    return VerifyKeys(dict(_read_public(file) for file in files)) if files else None


def require_no_key(what: str) -> None:
    """Refuse what opens models that no key can cover.

    Raises:
        InputError: A key is set.
    """
    if find_key_files():
        raise InputError(f"{what}, which no signature covers, and {SET}; unset it for this")


@contextlib.contextmanager
def verify_with(files: Sequence[Path]) -> Iterator[None]:
    """Within the block, `CROSSPOINT_VERIFY_KEY` names these files, in processes that are started too.

    Raises:
        InputError: A name cannot stand in a list of paths.
    """
    names = [str(file) for file in find_key_files(files)]
    if bad := next((name for name in names if os.pathsep in name), None):
        raise InputError(f"--verify-key {bad}: {os.pathsep!r} separates paths and cannot be in one; rename the file")
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = os.pathsep.join(names)
    try:
        yield
    finally:
        if before is None:
            del os.environ[VARIABLE]
        else:
            os.environ[VARIABLE] = before


def read_signing_key(path: Path) -> SigningKey:
    """Read the private key that `write_key_pair` wrote.

    Raises:
        InputError: The file cannot be read, or holds something else.
        MissingDependency: The package `cryptography` is not installed.
    """
    serialization, ed25519 = _cryptography("signing a bundle")
    content = _read_pem(path, "a private key")
    if b"PRIVATE KEY" not in content:
        raise InputError(f"{path} holds no private key; give the file that crosspoint keygen wrote, not its .pub")
    if b"ENCRYPTED" in content:
        raise InputError(f"{path} is encrypted; give a key without passphrase, as crosspoint keygen writes it")
    private = _parsed(path, lambda: serialization.load_pem_private_key(content, password=None))
    if not isinstance(private, ed25519.Ed25519PrivateKey):
        raise InputError(f"{path} is not an Ed25519 key; make one with crosspoint keygen")
    return SigningKey(private, _fingerprint(private.public_key()))


def write_key_pair(out: Path) -> str:
    """Make a key: the private part in `out`, readable by its owner alone, the public one in `out` with `.pub` added.

    Returns:
        The fingerprint.

    Raises:
        InputError: One of the files is there already, or cannot be written.
        MissingDependency: The package `cryptography` is not installed.
    """
    serialization, ed25519 = _cryptography("making a key")
    public_file = public_of(out)
    if out.suffix == ".pub":
        raise InputError(f"{out} is to be the private key, and .pub is the public one's suffix; give another name")
    for file in (out, public_file):
        if os.path.lexists(file):
            raise InputError(f"{file} exists, and a key is never overwritten; give another --out")
    private = ed25519.Ed25519PrivateKey.generate()
    pem, public = serialization.Encoding.PEM, private.public_key()
    secret = private.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    _write_new(out, secret, 0o600)
    try:
        _write_new(public_file, public.public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo), 0o644)
    except BaseException:
        out.unlink()
        raise
    return _fingerprint(public)


def public_of(out: Path) -> Path:
    """Where the public key of a private one lies."""
    return out.with_name(f"{out.name}.pub")


def _read_public(path: Path) -> tuple[str, "Ed25519PublicKey"]:
    """A public key and its fingerprint."""
    serialization, ed25519 = _cryptography("checking the signature of a bundle")
    content = _read_pem(path, "a public key")
    if b"PRIVATE KEY" in content:
        raise InputError(f"{path} is a private key, which does not belong where bundles are opened; give its .pub")
    public = _parsed(path, lambda: serialization.load_pem_public_key(content))
    if not isinstance(public, ed25519.Ed25519PublicKey):
        raise InputError(f"{path} is not an Ed25519 key; make one with crosspoint keygen")
    return _fingerprint(public), public


def _read_pem(path: Path, kind: str) -> bytes:
    content = read_bytes(path, KEY_BYTES)
    if content.count(b"-----BEGIN ") != 1:
        raise InputError(f"{path} is not {kind}: one key in PEM is wanted, as crosspoint keygen writes it")
    return content


def _parsed(path: Path, parse: Any) -> Any:
    try:
        return parse()
    except Exception as error:  # of cryptography and of OpenSSL below it, without a common base class
        raise InputError(f"{path} is not a key that can be read ({reason_of(error)}); make one with keygen") from error


def _fingerprint(public: "Ed25519PublicKey") -> str:
    """SHA-256 of the key in DER: `openssl pkey -pubin -in KEY.pub -outform der | sha256sum`."""
    serialization, _ = _cryptography("naming a key")
    der = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(der).hexdigest()


def _cryptography(purpose: str) -> tuple[Any, Any]:
    """The two modules of `cryptography` that are used."""
    primitives = "cryptography.hazmat.primitives"
    require("cryptography", "sign", purpose=purpose)
    return (
        require(f"{primitives}.serialization", "sign", purpose=purpose),
        require(f"{primitives}.asymmetric.ed25519", "sign", purpose=purpose),
    )


def _write_new(path: Path, content: bytes, mode: int) -> None:
    """Write a file that is not there, on the disk before this returns; nothing is left of one that failed."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        except BaseException:
            path.unlink()
            raise
    except OSError as error:
        raise InputError(f"cannot write {path}: {reason_of(error)}; choose another --out") from error
