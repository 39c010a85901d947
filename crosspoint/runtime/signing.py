"""Signed bundles: an Ed25519 signature of `manifest.json`, which holds the SHA-256 of all other files of the bundle.

A manifest shows that files belong together, not who made them: whoever can write a plan can also write its manifest.
If a public key is set, only bundles that the holder of its private key has signed are opened.

`manifest.sig` is one line, `crosspoint.signature/1 FINGERPRINT SIGNATURE`: the SHA-256 of the public key in DER
(hexadecimal), and the 64 bytes of the signature (base64). `CONTEXT` followed by the manifest's bytes is signed.
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
CONTEXT = b"crosspoint.manifest/1\0"  # so that the signature cannot be used for anything but a manifest
FORM = re.compile(rb"crosspoint\.signature/1 ([0-9a-f]{64}) ([A-Za-z0-9+/]{86}==)\n")
KEY_BYTES, SIGNATURE_BYTES = 1 << 16, 1 << 10  # largest file of a key, and of a signature
KeyFiles = Path | str | Sequence[Path | str]


@dataclass(frozen=True)
class SigningKey:
    """A private key.

    Attributes:
        private: The key, of the package `cryptography`.
        fingerprint: Fingerprint of its public key.
    """

    private: "Ed25519PrivateKey"
    fingerprint: str

    def sign(self, manifest: bytes) -> bytes:
        """The content of `manifest.sig` for a manifest."""
        signature = base64.b64encode(self.private.sign(CONTEXT + manifest)).decode()
        return f"crosspoint.signature/1 {self.fingerprint} {signature}\n".encode()


@dataclass(frozen=True)
class VerifyKeys:
    """Public keys, one of which must have signed every bundle that is opened.

    Attributes:
        by_fingerprint: The keys, at least one.
    """

    by_fingerprint: Mapping[str, "Ed25519PublicKey"]

    def require_signature(self, path: Path, manifest: bytes) -> None:
        """Check the signature beside a manifest.

        Args:
            path: Path of the manifest.
            manifest: Its bytes, which have not been parsed yet.

        Raises:
            InputError: The signature is missing or damaged, or is of another key or another manifest.
        """
        file = path.with_name(SIGNATURE)
        if not os.path.lexists(file):
            raise InputError(
                f"{path.parent} is not signed: {SIGNATURE} is missing, and {SET}; nothing was opened: give a bundle "
                "of crosspoint export --sign KEY"
            )
        match = FORM.fullmatch(read_bytes(file, SIGNATURE_BYTES))
        signature = b"" if match is None else base64.b64decode(match[2])
        if match is None or base64.b64encode(signature) != match[2]:
            raise InputError(
                f"{file} is damaged or not a signature of crosspoint export; nothing was opened: copy it again"
            )
        fingerprint = match[1].decode()
        key = self.by_fingerprint.get(fingerprint)
        if key is None:
            known = " or ".join(f"{name[:16]}…" for name in self.by_fingerprint)
            raise InputError(
                f"{path.parent} was signed with the key {fingerprint[:16]}…, but the set key is {known}; "
                "nothing was opened: get a bundle signed with that key"
            )
        if not _is_valid(key, signature, CONTEXT + manifest):
            raise InputError(
                f"{path} was not signed by the key {fingerprint[:16]}…: it or {SIGNATURE} was changed; nothing was "
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
    """Absolute paths of the public keys that are set; empty if none is set.

    Args:
        given: One file or several; None: those that `CROSSPOINT_VERIFY_KEY` names, separated by `:`.

    Raises:
        InputError: The setting exists and is empty; that does not switch the check off.
    """
    if given is None:
        text = os.environ.get(VARIABLE)
        if text is None:
            return ()
        given = text.split(os.pathsep)
    files = [given] if isinstance(given, str | Path) else list(given)
    if not files or not all(str(file) for file in files):
        raise InputError(f"{SET}, but has an empty entry; give public keys of crosspoint keygen, or unset it")
    return tuple(Path(file).absolute() for file in files)


def find_verify_keys(given: KeyFiles | None = None) -> VerifyKeys | None:
    """Read the public keys that are set; None if none is set.

    Raises:
        InputError: As `find_key_files`, or a file holds no Ed25519 public key.
        MissingDependency: A key is set, and the package `cryptography` is not installed.
    """
    files = find_key_files(given)
    return VerifyKeys(dict(_read_public(file) for file in files)) if files else None


def require_no_key(what: str) -> None:
    """If a key is set, refuse an action that opens models without a signature.

    Raises:
        InputError: A key is set.
    """
    if find_key_files():
        raise InputError(f"{what}, which are not signed, and {SET}; unset it for this command")


@contextlib.contextmanager
def verify_with(files: Sequence[Path]) -> Iterator[None]:
    """Within the block, set `CROSSPOINT_VERIFY_KEY` to these files, also for processes that are started.

    Raises:
        InputError: A path contains the separator of paths.
    """
    names = [str(file) for file in find_key_files(files)]
    if bad := next((name for name in names if os.pathsep in name), None):
        raise InputError(f"--verify-key {bad}: a path with {os.pathsep!r} cannot be used; rename the file")
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
    """Read a private key that `write_key_pair` wrote.

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
    """Make a key pair: the private key in `out`, readable only by its owner; the public key in `out` with `.pub` added.

    Returns:
        The fingerprint.

    Raises:
        InputError: One of the files exists, or cannot be written.
        MissingDependency: The package `cryptography` is not installed.
    """
    serialization, ed25519 = _cryptography("making a key")
    public_file = public_of(out)
    if out.suffix == ".pub":
        raise InputError(f"{out} ends in .pub, the suffix of the public key; give another name for the private key")
    for file in (out, public_file):
        if os.path.lexists(file):
            raise InputError(f"{file} exists, and keys are never overwritten; give another --out")
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
    """Path of the public key that belongs to a private key."""
    return out.with_name(f"{out.name}.pub")


def _read_public(path: Path) -> tuple[str, "Ed25519PublicKey"]:
    """Read a public key; returns its fingerprint and the key."""
    serialization, ed25519 = _cryptography("checking the signature of a bundle")
    content = _read_pem(path, "a public key")
    if b"PRIVATE KEY" in content:
        raise InputError(f"{path} is a private key, which must not be where bundles are opened; give its .pub")
    public = _parsed(path, lambda: serialization.load_pem_public_key(content))
    if not isinstance(public, ed25519.Ed25519PublicKey):
        raise InputError(f"{path} is not an Ed25519 key; make one with crosspoint keygen")
    return _fingerprint(public), public


def _read_pem(path: Path, kind: str) -> bytes:
    content = read_bytes(path, KEY_BYTES)
    if content.count(b"-----BEGIN ") != 1:
        raise InputError(f"{path} is not {kind}; give one key in PEM format, as crosspoint keygen writes it")
    return content


def _parsed(path: Path, parse: Any) -> Any:
    try:
        return parse()
    except Exception as error:  # of cryptography and of OpenSSL below it, without a common base class
        raise InputError(
            f"{path} is not a readable key ({reason_of(error)}); make one with crosspoint keygen"
        ) from error


def _fingerprint(public: "Ed25519PublicKey") -> str:
    """SHA-256 of the key in DER: `openssl pkey -pubin -in KEY.pub -outform der | sha256sum`."""
    serialization, _ = _cryptography("naming a key")
    der = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(der).hexdigest()


def _cryptography(purpose: str) -> tuple[Any, Any]:
    """Import the two modules of `cryptography` that are used."""
    primitives = "cryptography.hazmat.primitives"
    require("cryptography", "sign", purpose=purpose)
    return (
        require(f"{primitives}.serialization", "sign", purpose=purpose),
        require(f"{primitives}.asymmetric.ed25519", "sign", purpose=purpose),
    )


def _write_new(path: Path, content: bytes, mode: int) -> None:
    """Write a new file and sync it to disk; if that fails, nothing is left of it."""
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
