"""Types of what `doctor` finds: the machine, its GPUs and its packages."""

from dataclasses import dataclass, field
from typing import ClassVar

from crosspoint.core.results import FLAT, OPTIONAL, Result


@dataclass(frozen=True)
class Gpu:
    """A GPU as nvidia-smi lists it, with the version of NVIDIA's driver."""

    name: str
    driver: str
    memory: str
    compute_capability: str


@dataclass(frozen=True)
class Gpus:
    """The GPUs that nvidia-smi lists, and the reason if it lists none."""

    found: tuple[Gpu, ...]
    reason: str | None


@dataclass(frozen=True)
class Jetpack:
    """A Jetson: its model, L4T release and JetPack version."""

    model: str
    l4t: str
    jetpack: str


@dataclass(frozen=True)
class MachineFacts:
    """System, processor, memory and GPUs.

    Attributes:
        system: Kernel and architecture.
        distribution: Name and version of the Linux distribution.
        libc: Name and version of the C library.
        python: Implementation and version of Python.
        virtual_environment: Whether Python runs in a virtual environment.
        processor: Name of the processor.
        cores: Number of cores that this process may use.
        memory_gib: Main memory, in GiB.
        gpus: NVIDIA GPUs.
        jetpack: JetPack of a Jetson; None on other machines.
    """

    system: str
    distribution: str
    libc: str
    python: str
    virtual_environment: bool
    processor: str
    cores: int
    memory_gib: float
    gpus: Gpus
    jetpack: Jetpack | None


@dataclass(frozen=True, kw_only=True)
class Broken:
    """A package that cannot be used: it is not installed, or does not work."""

    installed: bool
    works: bool = False
    reason: str


@dataclass(frozen=True, kw_only=True)
class Works:
    """A package that can be used."""

    installed: bool = True
    works: bool = True
    version: str


@dataclass(frozen=True)
class TorchDevice:
    """A GPU as PyTorch sees it; `supported` says whether this build has code for it."""

    name: str
    compute_capability: str
    memory_gib: float
    supported: bool


@dataclass(frozen=True, kw_only=True)
class TorchFacts(Works):
    """PyTorch, the CUDA version that it was built for, and the GPUs that it sees; None if it sees no GPU."""

    cuda_build: str | None
    cuda_available: bool
    cudnn: int | None
    nccl: str | None
    bf16: bool | None
    devices: tuple[TorchDevice, ...]


@dataclass(frozen=True, kw_only=True)
class OnnxRuntimeFacts(Works):
    """ONNX Runtime.

    Attributes:
        listed: Names of the providers of this build.
        providers: For each provider the reason why it does not load a model; None if it does.
        lacks_bf16: Why bundles in bf16 do not run on this CPU; empty if they do.
    """

    listed: tuple[str, ...]
    providers: dict[str, str | None]
    lacks_bf16: str


@dataclass(frozen=True, kw_only=True)
class TensorRTFacts(Works):
    """A TensorRT variant; `targets` are the GPUs that it can build for, None if only for the GPU of this machine."""

    onnx_parser: bool
    targets: tuple[str, ...] | None


@dataclass(frozen=True, kw_only=True)
class CudaFacts(Works):
    """The CUDA runtime, through cuda-python.

    Attributes:
        devices: Compute capabilities of the GPUs.
        reason: Why there are no GPUs.
        driver_supports: Newest CUDA version that the driver can run; None without a driver.
        runtime: Version of the CUDA runtime; None without a GPU.
    """

    devices: tuple[str, ...]
    reason: str | None
    driver_supports: str | None
    runtime: str | None = field(default=None, metadata=OPTIONAL)


Package = TorchFacts | OnnxRuntimeFacts | TensorRTFacts | CudaFacts | Broken


@dataclass(frozen=True)
class Ability:
    """One task of a command, and whether it runs on this machine.

    Attributes:
        command: The command and the kind of model, e.g. `"export --trt"`.
        can: `"yes"`, `"partly"` or `"no"`.
        how: The packages and devices that run it, or why it does not run.
        install: The command that installs what is missing; empty if nothing is missing or nothing can be installed.
    """

    command: str
    can: str
    how: str
    install: str = ""


@dataclass(frozen=True)
class PackageAnswers:
    """The state of each package for training and inference."""

    torch: TorchFacts | Broken
    onnxruntime: OnnxRuntimeFacts | Broken
    tensorrt: TensorRTFacts | Broken
    tensorrt_rtx: TensorRTFacts | Broken
    cuda_python: CudaFacts | Broken

    def package(self, name: str) -> Package:
        """The state of one package."""
        package: Package = getattr(self, name)
        return package


@dataclass(frozen=True)
class DoctorFacts:
    """A machine and its packages.

    Attributes:
        crosspoint: Version of this package.
        machine: The machine.
        packages: Version of each package; None if it is not installed.
        answers: The state of the packages for training and inference.
    """

    crosspoint: str
    machine: MachineFacts
    packages: dict[str, str | None]
    answers: PackageAnswers = field(metadata=FLAT)


@dataclass(frozen=True)
class DoctorResult(Result):
    """The result of `doctor`; it holds no host name, no user name and no path.

    Attributes:
        facts: The machine and its packages.
        commands: What each command can do on this machine.
        problems: Packages that are installed but do not work.
    """

    schema: ClassVar[str] = "crosspoint.doctor/1"

    facts: DoctorFacts = field(metadata=FLAT)
    commands: tuple[Ability, ...]
    problems: tuple[str, ...]
