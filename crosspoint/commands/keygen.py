"""`crosspoint keygen`."""

from pathlib import Path

import click

from crosspoint.commands.common import Command, PathArgument, json_option, write_result


@click.command("keygen", cls=Command, example="crosspoint keygen --out signing.key")
@click.option(
    "--out", required=True, type=PathArgument, metavar="KEY", help="File of the private key; KEY.pub is the public key."
)
@json_option
def keygen(out: Path, json_file: Path | None) -> None:
    """Create a pair of Ed25519 keys for signing bundles.

    Sign bundles with the private key: crosspoint export … --sign KEY. Keep it on the machine that exports; only you can
    read its file. Copy KEY.pub to the machines that run bundles, and set CROSSPOINT_VERIFY_KEY=KEY.pub there or give
    --verify-key KEY.pub. No existing file is overwritten.
    """
    from crosspoint.runtime.signing import public_of, write_key_pair

    fingerprint = write_key_pair(out)
    click.echo(f"{out}: private key, for crosspoint export --sign; keep it secret")
    click.echo(f"{public_of(out)}: public key, for CROSSPOINT_VERIFY_KEY or --verify-key; fingerprint {fingerprint}")
    write_result(
        json_file, "keygen", result={"key": str(out), "public": str(public_of(out)), "fingerprint": fingerprint}
    )
