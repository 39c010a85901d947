"""`crosspoint keygen`."""

from pathlib import Path

import click

from crosspoint.commands.common import PathArgument, json_option, write_result


@click.command("keygen")
@click.option(
    "--out", required=True, type=PathArgument, metavar="KEY", help="The private key; KEY.pub is the public one."
)
@json_option
def keygen(out: Path, json_file: Path | None) -> None:
    """Make a key to sign bundles with (Ed25519).

    KEY signs: crosspoint export … --sign KEY. It stays where bundles are made, readable by you alone. KEY.pub goes to
    the machines that run them: CROSSPOINT_VERIFY_KEY=KEY.pub, or --verify-key KEY.pub. Nothing is overwritten.
    """
    from crosspoint.runtime.signing import public_of, write_key_pair

    fingerprint = write_key_pair(out)
    click.echo(f"{out}: private key, for crosspoint export --sign; keep it secret")
    click.echo(f"{public_of(out)}: public key, for CROSSPOINT_VERIFY_KEY or --verify-key; fingerprint {fingerprint}")
    write_result(json_file, "keygen", {"key": str(out), "public": str(public_of(out)), "fingerprint": fingerprint})
