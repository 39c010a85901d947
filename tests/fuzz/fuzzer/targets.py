"""Everything that is fuzzed, by name."""

from fuzzer.bundles import BUNDLES
from fuzzer.cases import Target
from fuzzer.embeddings import EMBEDDINGS
from fuzzer.models import MODELS
from fuzzer.readers import READERS
from fuzzer.results import RESULTS
from fuzzer.training_runs import TRAINING_RUNS
from fuzzer.weights import WEIGHTS

TARGETS: dict[str, Target] = {
    target.name: target for target in (*READERS, *WEIGHTS, *TRAINING_RUNS, *EMBEDDINGS, *BUNDLES, *RESULTS, *MODELS)
}
