"""Average the weights of encoders that began as the same one.

    python tools/average_weights.py MODEL MODEL [MODEL ...] --out FILE.safetensors

MODEL is a run folder, a .safetensors file or a released model. The networks have to have the same architecture, and
should have been trained on from the same weights, as `dgcnn-scan` was from `dgcnn`: averages of others say nothing
(Wortsman et al., Model soups, 2022). FILE is an encoder like any other.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from crosspoint.core.errors import CrosspointError, InputError
from crosspoint.export.trained import read_trained, trained_weights
from crosspoint.models.weights import save_model


def average(models: Sequence[Path], out: Path) -> None:
    """Write the encoder whose weights are the mean of those of `models`.

    Args:
        models: Run folders, `.safetensors` files or names of released models.
        out: Output file.

    Raises:
        InputError: A model cannot be read, or two are of different architectures.
    """
    weights = [read_trained(trained_weights(model)) for model in models]
    first = weights[0]
    for other in weights[1:]:
        if other.config != first.config:
            raise InputError(
                f"{first.path} holds a {first.config} and {other.path} a {other.config}; give equal networks"
            )
    network, *others = (each.network() for each in weights)
    states = [each.state_dict() for each in (network, *others)]
    mean = {
        name: torch.stack([state[name].double() for state in states]).mean(0).to(value.dtype)
        for name, value in states[0].items()
        if value.is_floating_point()
    }
    network.load_state_dict({**states[0], **mean})  # the counts of batches are those of the first
    save_model(network, out, recipe={"average_of": [each.sha256 for each in weights]})


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line and average."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path, nargs="+", metavar="MODEL")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.safetensors")
    given = parser.parse_args(arguments)
    try:
        average(given.models, given.out)
    except CrosspointError as error:
        print(f"average_weights: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    print(f"{given.out}: the mean of {len(given.models)} encoders")


if __name__ == "__main__":
    main()
