"""Keys, signatures, and what is opened while a key is set."""

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import small_models as small
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from crosspoint.core.errors import InputError, MissingDependency
from crosspoint.eval.paper.roles import read_facts
from crosspoint.runtime import load_encoder, load_manifest
from crosspoint.runtime.jobs.request import make_request, open_request
from crosspoint.runtime.manifest import Manifest, read_manifest, sign_bundle
from crosspoint.runtime.options import RunOn, Sampling
from crosspoint.runtime.released import FOLDER
from crosspoint.runtime.signing import (
    CONTEXT,
    SIGNATURE,
    VARIABLE,
    find_verify_keys,
    read_signing_key,
    verify_with,
    write_key_pair,
)

PEM = serialization.Encoding.PEM


@pytest.fixture(autouse=True)
def no_key_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """A private key; its public one has `.pub` added."""
    write_key_pair(tmp_path / "fleet")
    return tmp_path / "fleet"


@pytest.fixture
def other(tmp_path: Path) -> Path:
    write_key_pair(tmp_path / "other")
    return tmp_path / "other"


@pytest.fixture
def signed(bundle: Path, key: Path) -> Path:
    """ONNX file, manifest and signature."""
    sign_bundle(bundle, read_signing_key(key))
    return bundle


def public(key: Path) -> Path:
    return key.with_name(f"{key.name}.pub")


# Keys


def test_the_private_key_is_readable_by_its_owner_alone(key: Path) -> None:
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert key.read_bytes().startswith(b"-----BEGIN PRIVATE KEY-----")
    assert public(key).read_bytes().startswith(b"-----BEGIN PUBLIC KEY-----")


def test_no_two_keys_are_equal(key: Path, other: Path) -> None:
    assert key.read_bytes() != other.read_bytes()


@pytest.mark.parametrize("there", ["fleet", "fleet.pub"])
@pytest.mark.parametrize("kind", ["file", "link to nothing"])
def test_a_key_is_never_overwritten(there: str, kind: str, tmp_path: Path) -> None:
    if kind == "file":
        (tmp_path / there).write_text("mine")
    else:
        (tmp_path / there).symlink_to(tmp_path / "nothing")
    with pytest.raises(InputError, match=f"{there} exists, and keys are never overwritten"):
        write_key_pair(tmp_path / "fleet")
    assert [path.name for path in tmp_path.iterdir()] == [there]


def test_a_key_that_appears_in_the_meantime_is_not_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "fleet").write_text("mine")
    monkeypatch.setattr(os.path, "lexists", lambda path: False)
    with pytest.raises(InputError, match=r"cannot write .*: File exists"):
        write_key_pair(tmp_path / "fleet")
    assert (tmp_path / "fleet").read_text() == "mine"


def test_a_key_without_its_public_half_is_not_left(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot write .*\.pub: File name too long"):
        write_key_pair(tmp_path / ("k" * 253))  # a name has at most 255 bytes
    assert list(tmp_path.iterdir()) == []


def test_a_private_key_is_not_called_pub(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.pub ends in \.pub"):
        write_key_pair(tmp_path / "a.pub")


def test_a_place_for_a_key_that_is_none(key: Path) -> None:
    with pytest.raises(InputError, match="cannot write"):
        write_key_pair(key / "inside")


def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=1024)


def rsa_public() -> bytes:
    return rsa_key().public_key().public_bytes(PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def private_pem(key: ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey, password: bytes | None = None) -> bytes:
    lock = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, lock)


def write(content: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content)


NO_PUBLIC_KEY = {
    "missing": (lambda path: None, "cannot be opened"),
    "empty": (write(b""), "is empty"),
    "a folder": (lambda path: path.mkdir(), "is a folder"),
    "a pipe": (os.mkfifo, "is a pipe"),
    "text": (write(b"secret"), "is not a public key"),
    "damaged": (write(b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"), "not a readable key"),
    "of RSA": (lambda path: path.write_bytes(rsa_public()), "is not an Ed25519 key"),
    "a private one": (write(private_pem(ed25519.Ed25519PrivateKey.generate())), "is a private key"),
    "two": (
        write(b"-----BEGIN PUBLIC KEY-----\nA\n-----END PUBLIC KEY-----\n" * 2),
        "give one key in PEM",
    ),
    "huge": (write(b"-----BEGIN PUBLIC KEY-----\n" + b"A" * (1 << 17)), "the limit for such a file"),
}


@pytest.mark.parametrize("name", NO_PUBLIC_KEY)
def test_a_file_that_is_no_public_key_refuses_everything(name: str, signed: Path, tmp_path: Path) -> None:
    make, message = NO_PUBLIC_KEY[name]
    make(tmp_path / "bad.pub")
    for model in (signed, "dgcnn"):
        with pytest.raises(InputError, match=message) as caught:
            load_encoder(model, verify_key=tmp_path / "bad.pub")
        assert "\n" not in str(caught.value)


NO_PRIVATE_KEY = {
    "missing": (lambda path: None, "cannot be opened"),
    "empty": (write(b""), "is empty"),
    "a folder": (lambda path: path.mkdir(), "is a folder"),
    "a pipe": (os.mkfifo, "is a pipe"),
    "text": (write(b"secret"), "is not a private key"),
    "damaged": (write(b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"), "not a readable key"),
    "of RSA": (lambda path: path.write_bytes(private_pem(rsa_key())), "is not an Ed25519 key"),
    "a public one": (lambda path: path.write_bytes(rsa_public()), "holds no private key"),
    "encrypted": (write(private_pem(ed25519.Ed25519PrivateKey.generate(), b"x")), "is encrypted"),
}


@pytest.mark.parametrize("name", NO_PRIVATE_KEY)
def test_a_file_that_is_no_private_key(name: str, tmp_path: Path) -> None:
    make, message = NO_PRIVATE_KEY[name]
    make(tmp_path / "bad")
    with pytest.raises(InputError, match=message) as caught:
        read_signing_key(tmp_path / "bad")
    assert "\n" not in str(caught.value)


# Signatures


def test_the_signature_is_one_that_openssl_knows(signed: Path, key: Path, tmp_path: Path) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    schema, fingerprint, text = (signed / SIGNATURE).read_text().split()
    assert schema == "crosspoint.signature/1"
    (tmp_path / "message").write_bytes(b"crosspoint.manifest/1\0" + (signed / "manifest.json").read_bytes())
    decoded = subprocess.run(["base64", "-d"], input=text.encode(), capture_output=True, check=True).stdout
    (tmp_path / "signature").write_bytes(decoded)
    command = [openssl, "pkeyutl", "-verify", "-pubin", "-inkey", public(key), "-rawin"]
    command += ["-in", tmp_path / "message", "-sigfile", tmp_path / "signature"]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    der = [openssl, "pkey", "-pubin", "-in", public(key), "-outform", "der"]
    dumped = subprocess.run(der, capture_output=True, check=True).stdout
    summed = subprocess.run(["sha256sum"], input=dumped, capture_output=True, check=True).stdout
    assert fingerprint == summed.decode().split()[0]


def test_no_changed_bit_of_a_signature_passes(signed: Path, key: Path) -> None:
    keys = find_verify_keys(public(key))
    content = (signed / SIGNATURE).read_bytes()
    read_manifest(signed, keys)
    for i in range(len(content)):
        for bit in range(8):
            changed = bytearray(content)
            changed[i] ^= 1 << bit
            (signed / SIGNATURE).write_bytes(changed)
            with pytest.raises(InputError, match="nothing was opened"):
                read_manifest(signed, keys)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[:-1],
        lambda text: text + b"\n",
        lambda text: text * 2,
        lambda text: b" " + text,
        lambda text: text.replace(b" ", b"  "),
        lambda text: text.replace(b"/1 ", b"/2 "),
    ],
)
def test_a_signature_has_one_form(change: Callable[[bytes], bytes], signed: Path, key: Path) -> None:
    (signed / SIGNATURE).write_bytes(change((signed / SIGNATURE).read_bytes()))
    with pytest.raises(InputError, match=r"manifest\.sig is damaged or not a signature"):
        load_manifest(signed, public(key))


def test_a_signature_of_the_manifest_without_its_context_is_none(signed: Path, key: Path) -> None:
    private = read_signing_key(key)
    bare = SimpleNamespace(sign=lambda message: private.private.sign(message.removeprefix(CONTEXT)))
    (signed / SIGNATURE).write_bytes(
        type(private)(bare, private.fingerprint).sign((signed / "manifest.json").read_bytes())
    )
    with pytest.raises(InputError, match="was not signed by the key"):
        load_manifest(signed, public(key))


# What is opened


def test_a_signed_bundle_is_opened(signed: Path, key: Path, clouds: Callable) -> None:
    for model in (signed, signed / "encoder.onnx", str(signed)):
        with load_encoder(model, verify_key=public(key)) as encoder:
            np.testing.assert_allclose(encoder.embed(clouds()), small.reference(clouds()), rtol=1e-6)


@pytest.mark.parametrize("name", ["manifest.json", "encoder.onnx", SIGNATURE])
@pytest.mark.parametrize("by_file", [False, True])
def test_a_changed_file_is_refused(name: str, by_file: bool, signed: Path, key: Path) -> None:
    small.flip(signed / name)
    with pytest.raises(InputError, match=r"nothing was (opened|loaded)"):
        load_encoder(signed / "encoder.onnx" if by_file else signed, verify_key=public(key))


def test_an_unsigned_bundle_is_refused_before_its_manifest_is_parsed(bundle: Path, key: Path) -> None:
    (bundle / "manifest.json").write_text("[" * 100)
    with pytest.raises(InputError, match=r"is not signed: manifest\.sig is missing, and CROSSPOINT_VERIFY_KEY or"):
        load_encoder(bundle, verify_key=public(key))


def test_a_bundle_that_another_key_signed_is_refused(signed: Path, key: Path, other: Path) -> None:
    with pytest.raises(InputError, match=r"was signed with the key [0-9a-f]{16}…, but the set key is [0-9a-f]{16}…"):
        load_encoder(signed, verify_key=public(other))
    sign_bundle(signed, read_signing_key(other))
    with pytest.raises(InputError, match="was signed with the key"):
        load_encoder(signed, verify_key=public(key))
    load_encoder(signed, verify_key=[public(key), public(other)]).close()


def test_another_key_does_not_pass_under_the_right_one_s_name(signed: Path, key: Path, other: Path) -> None:
    right, wrong = read_signing_key(key), read_signing_key(other)
    posing = type(wrong)(wrong.private, right.fingerprint)
    (signed / SIGNATURE).write_bytes(posing.sign((signed / "manifest.json").read_bytes()))
    with pytest.raises(InputError, match="was not signed by the key"):
        load_encoder(signed, verify_key=public(key))


def test_a_manifest_of_another_signed_bundle_does_not_cover_this_one(signed: Path, key: Path, tmp_path: Path) -> None:
    second = tmp_path / "second"
    second.mkdir()
    small.write_onnx(second / "encoder.onnx", points=16)
    for name in ("manifest.json", SIGNATURE):
        shutil.copy(signed / name, second)
    with pytest.raises(InputError, match=r"encoder\.onnx (has \d+ bytes|is not the file)"):
        load_encoder(second, verify_key=public(key))


OUTSIDE = {
    "an ONNX file": lambda folder: small.write_onnx(folder / "m.onnx"),
    "an engine": lambda folder: _file(folder / "m.plan"),
    "weights": lambda folder: _file(folder / "m.safetensors"),
    "a run folder": lambda folder: _file(folder / "encoder.safetensors").parent,
    "a copy of a released file": lambda folder: Path(shutil.copy(FOLDER / "dgcnn.onnx", folder)),
}


def _file(path: Path) -> Path:
    path.write_bytes(b"x")
    return path


@pytest.mark.parametrize("name", OUTSIDE)
def test_what_is_in_no_signed_bundle_is_refused(name: str, key: Path, tmp_path: Path) -> None:
    (tmp_path / "away").mkdir()
    model = OUTSIDE[name](tmp_path / "away")
    with pytest.raises(InputError, match="is not in a signed bundle, and CROSSPOINT_VERIFY_KEY or --verify-key"):
        load_encoder(model, trust=True, verify_key=public(key))


@pytest.mark.parametrize("name", ["other.onnx", "other.plan", "other.safetensors"])
def test_a_file_that_the_signed_manifest_does_not_list_is_refused(name: str, signed: Path, key: Path) -> None:
    small.write_onnx(signed / name)
    with pytest.raises(InputError, match=r"is not (in a signed bundle|listed)"):
        load_encoder(signed / name, "cuda" if name == "other.plan" else "cpu", trust=True, verify_key=public(key))


def test_weights_that_are_run_without_an_encoder_are_refused_before_they_are_read(
    key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(public(key)))
    _file(tmp_path / "image_encoder.safetensors")  # no safetensors: whoever reads it says so
    with pytest.raises(InputError, match="is not in a signed bundle"):
        read_facts(tmp_path, ("image_encoder.safetensors",))
    assert read_facts(FOLDER / "pointnet.safetensors").config["architecture"] == "pointnet"


@pytest.mark.parametrize("model", ["pointnet", FOLDER / "pointnet.onnx"])
def test_what_comes_with_the_package_needs_no_signature(model: str | Path, key: Path) -> None:
    load_encoder(model, verify_key=public(key)).close()


def test_a_file_in_the_package_s_folder_that_was_not_released_is_refused(
    key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied = shutil.copytree(FOLDER, tmp_path / "weights")
    monkeypatch.setattr("crosspoint.runtime.released.FOLDER", copied)
    load_encoder(copied / "pointnet.onnx", verify_key=public(key)).close()
    small.write_onnx(copied / "pointnet.onnx")
    with pytest.raises(InputError, match="is not in a signed bundle"):
        load_encoder(copied / "pointnet.onnx", verify_key=public(key))


def test_an_engine_runs_only_where_its_bundle_is_signed(engine_bundle: Path, key: Path, host: SimpleNamespace) -> None:
    for trust in (False, True):
        with pytest.raises(InputError, match="is not signed"):
            load_encoder(engine_bundle, "cuda", trust=trust, verify_key=public(key))
    sign_bundle(engine_bundle, read_signing_key(key))
    load_encoder(engine_bundle, "cuda", verify_key=public(key)).close()
    small.flip(engine_bundle / "encoder.plan")
    with pytest.raises(InputError, match="is not the exported file"):
        load_encoder(engine_bundle, "cuda", verify_key=public(key))


def test_the_bytes_that_were_checked_are_those_that_run(
    signed: Path, key: Path, clouds: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = Manifest.read

    def read_and_exchange(self: Manifest, path: Path) -> bytes:
        content = read(self, path)
        small.write_segmenter(path)
        return content

    monkeypatch.setattr(Manifest, "read", read_and_exchange)
    with load_encoder(signed, verify_key=public(key)) as encoder:
        np.testing.assert_allclose(encoder.embed(clouds()), small.reference(clouds()), rtol=1e-6)


# How a key is set


def test_without_a_key_nothing_is_asked_for(bundle: Path, signed: Path) -> None:
    load_encoder(bundle).close()


def test_a_key_in_the_environment_counts(signed: Path, key: Path, other: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(public(key)))
    load_encoder(signed).close()
    monkeypatch.setenv(VARIABLE, str(public(other)))
    with pytest.raises(InputError, match="was signed with the key"):
        load_encoder(signed)
    with pytest.raises(InputError, match="was signed with the key"):
        load_manifest(signed)
    monkeypatch.setenv(VARIABLE, os.pathsep.join([str(public(other)), str(public(key))]))
    load_encoder(signed).close()


def test_a_key_that_is_given_comes_before_the_environment_s(
    signed: Path, key: Path, other: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(public(key)))
    with pytest.raises(InputError, match="was signed with the key"):
        load_encoder(signed, verify_key=public(other))


@pytest.mark.parametrize("text", ["", os.pathsep, f"{os.pathsep}fleet.pub"])
def test_an_empty_setting_is_no_way_to_switch_the_check_off(
    text: str, signed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, text)
    for model in (signed, "pointnet"):
        with pytest.raises(InputError, match="has an empty entry"):
            load_encoder(model)


@pytest.mark.parametrize("given", ["", [], [""]])
def test_nor_is_an_empty_argument(given: str | list[str], signed: Path) -> None:
    with pytest.raises(InputError, match="has an empty entry"):
        load_encoder(signed, verify_key=given)


def test_a_key_whose_name_cannot_stand_in_a_list_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be used"), verify_with([tmp_path / "a:b.pub"]):
        pass


@pytest.mark.parametrize("before", [None, "/somewhere/else.pub"])
def test_what_was_set_before_is_set_again(
    before: str | None, key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if before is not None:
        monkeypatch.setenv(VARIABLE, before)
    monkeypatch.chdir(tmp_path)
    with verify_with([Path("fleet.pub")]):
        assert os.environ[VARIABLE] == str(tmp_path / "fleet.pub")
    assert os.environ.get(VARIABLE) == before


def test_a_request_for_other_machines_takes_the_keys_along(
    bundle: Path, signed: Path, key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.save(tmp_path / "cloud.npy", np.random.default_rng(0).random((8, 3)))
    monkeypatch.setenv(VARIABLE, str(public(key)))
    request = make_request(
        bundle, [tmp_path / "cloud.npy"], sampling=Sampling(None, seed=0), batch=1, run_on=RunOn("cpu", backend=None)
    )
    monkeypatch.delenv(VARIABLE)  # a worker has an environment of its own
    open_request(request).encoder.close()
    (signed / SIGNATURE).unlink()
    with pytest.raises(InputError, match="is not signed"):
        open_request(request)


@pytest.mark.parametrize("model", ["bundle", "pointnet"])
def test_without_the_package_a_set_key_refuses_everything(
    model: str, signed: Path, key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = signed if model == "bundle" else model
    for name in [name for name in sys.modules if name.partition(".")[0] == "cryptography"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "cryptography", None)
    load_encoder(chosen).close()
    with pytest.raises(MissingDependency, match=r"signature of a bundle needs the package cryptography .*\[sign\]"):
        load_encoder(chosen, verify_key=public(key))
    with pytest.raises(MissingDependency, match="signing a bundle needs"):
        read_signing_key(key)
    with pytest.raises(MissingDependency, match="making a key needs"):
        write_key_pair(key.with_name("new"))
