"""Everything that is fuzzed, by name."""

from fuzzer.artefacts import ARTEFACTS
from fuzzer.cases import Target
from fuzzer.models import MODELS
from fuzzer.readers import READERS

TARGETS: dict[str, Target] = {target.name: target for target in (*READERS, *ARTEFACTS, *MODELS)}
