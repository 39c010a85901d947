"""What files of weights claim is compared with what they hold, before memory is taken for it."""

import io
import json
import struct
import zipfile

import pytest
import torch

from crosspoint.core.errors import InputError
from crosspoint.models import DGCNN, DGCNNSegmenter, PointNet
from crosspoint.models.official import import_official
from crosspoint.models.torch_file import is_plain, load_torch_file
from crosspoint.models.weights import build, load_model, read_metadata, save_model


def header_alone(path, metadata):
    """A safetensors file without tensors."""
    header = json.dumps({"__metadata__": {"crosspoint": metadata}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header)
    return path


def built(monkeypatch):
    """The devices on which networks are built."""
    devices = []
    linear = torch.nn.Linear.__init__

    def noted(self, *args, **kwargs):
        linear(self, *args, **kwargs)
        devices.append(self.weight.device.type)

    monkeypatch.setattr(torch.nn.Linear, "__init__", noted)
    return devices


@pytest.mark.parametrize(
    "config",
    [
        {"architecture": "point_head", "dim": 10**6},
        {"architecture": "point_head", "dim": 2**31 - 1},
        {"architecture": "dgcnn_partseg", "parts": 10**9, "categories": 10**9, "k": 4},
    ],
)
def test_no_network_is_built_for_weights_that_are_not_there(tmp_path, config, monkeypatch):
    path = header_alone(tmp_path / "x.safetensors", json.dumps({"model": config, "recipe": None}))
    devices = built(monkeypatch)
    with pytest.raises(InputError, match="does not hold the weights of its network"):
        load_model(path)
    assert set(devices) == {"meta"}


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"architecture": ["dgcnn"]}, "unknown architecture"),
        ({"architecture": "dgcnn", "k": 0}, "cannot have k = 0"),
        ({"architecture": "dgcnn", "k": True}, "cannot have k = True"),
        ({"architecture": "dgcnn", "k": "4"}, "cannot have k = 4"),
        ({"architecture": "dgcnn", "k": 2**31}, "cannot have k = 2147483648"),
        ({"architecture": "pointnet", "width": 4}, "pointnet cannot be built"),
        ({"architecture": "dgcnn_partseg", "parts": 4}, "dgcnn_partseg cannot be built"),
        ({"architecture": "resnet", "depth": 101}, "resnet cannot be built"),
    ],
)
def test_a_config_of_no_network_is_refused(config, said):
    with pytest.raises(InputError, match=said):
        build(config)


@pytest.mark.parametrize(
    "metadata",
    [
        *("3", "[]", "null", '{"model": 3, "recipe": null}', '{"model": {}, "recipe": []}', '{"model": {}}'),
        *("[" * 100_000, "9" * 5000, "{"),
    ],
)
def test_metadata_that_describe_no_network_are_one_line(tmp_path, metadata):
    path = header_alone(tmp_path / "x.safetensors", metadata)
    for read in (read_metadata, load_model):
        with pytest.raises(InputError, match=r"x\.safetensors: ") as error:
            read(path)
        assert str(error.value).isprintable()


def test_a_tensor_too_many_or_too_few_is_refused(tmp_path):
    from safetensors.torch import save_file

    metadata = {"crosspoint": json.dumps({"model": {"architecture": "pointnet"}, "recipe": None})}
    state = PointNet().state_dict()
    for name, changed in {
        "more": {**state, "another": torch.zeros(1)},
        "fewer": {key: value for key, value in state.items() if key != "norms.0.weight"},
    }.items():
        save_file(changed, tmp_path / f"{name}.safetensors", metadata)
        with pytest.raises(InputError, match=r"first difference: (another|norms\.0\.weight)"):
            load_model(tmp_path / f"{name}.safetensors")


def packed(content):
    """The same archive, its members compressed."""
    result = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(result, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            target.writestr(name, source.read(name))
    return result.getvalue()


def saved(value, **options):
    memory = io.BytesIO()
    torch.save(value, memory, **options)
    return memory.getvalue()


def with_claim(numbers):
    """A file whose tensor of four numbers claims to have more."""
    with zipfile.ZipFile(io.BytesIO(saved({"a": torch.arange(4.0)}))) as source:
        members = {name: source.read(name) for name in source.namelist()}
    name = next(name for name in members if name.endswith("data.pkl"))
    claimed = b"J" + numbers.to_bytes(4, "little")
    assert members[name].count(b"K\x04") == 2  # of the storage and of the tensor
    members[name] = members[name].replace(b"K\x04", claimed)
    result = io.BytesIO()
    with zipfile.ZipFile(result, "w") as target:
        for member, content in members.items():
            target.writestr(member, content)
    return result.getvalue()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (packed(saved({"a": torch.zeros(10_000)})), "compressed archive"),
        (saved({"a": torch.zeros(3)}, _use_new_zipfile_serialization=False), "not a checkpoint of PyTorch 1.6"),
        (with_claim(10**8), "damaged or not a checkpoint"),
        (with_claim(1000), "damaged or not a checkpoint"),
        (b"", "not a checkpoint"),
    ],
)
def test_a_torch_file_gives_no_more_than_it_has(tmp_path, content, said):
    (tmp_path / "x.pt").write_bytes(content)
    with pytest.raises(InputError, match=said):
        load_torch_file(tmp_path / "x.pt", "a checkpoint", advice="give another")


def test_what_was_read_stays_when_the_file_is_replaced(tmp_path):
    path = tmp_path / "x.pt"
    path.write_bytes(saved({"a": torch.arange(1000.0)}))
    state = load_torch_file(path, "a checkpoint", advice="give another")
    with path.open("r+b") as file:
        file.write(b"\0" * path.stat().st_size)
    assert torch.equal(state["a"], torch.arange(1000.0))


@pytest.mark.parametrize(
    "value",
    [
        torch.zeros(1).expand(10**9),
        torch.zeros(3).to_sparse(),
        torch.zeros(3, dtype=torch.complex64),
        None,
    ],
)
def test_a_tensor_without_memory_for_its_numbers_is_not_plain(value):
    assert is_plain(torch.zeros(3))
    assert not is_plain(value)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("conv11.weight", torch.zeros(1).expand(10**9, 128, 1), "does not hold a state dict"),
        ("conv11.weight", torch.zeros(()), "conv11.weight is missing or too small"),
        ("conv7.0.weight", None, "conv7.0.weight is missing or too small"),
        ("conv7.0.weight", torch.zeros(64, 0, 1), "conv7.0.weight is missing or too small"),
        (3, torch.zeros(3), "does not hold a state dict"),
    ],
)
def test_an_official_checkpoint_decides_no_size_that_it_does_not_hold(tmp_path, reference, name, value, said):
    state = dict(reference("dgcnn_partseg", 4, 5, 3).state_dict())
    state[name] = value
    torch.save({key: kept for key, kept in state.items() if kept is not None}, tmp_path / "x.pth")
    with pytest.raises(InputError, match=said):
        import_official(tmp_path / "x.pth", 4, out=tmp_path / "out.safetensors")
    assert not (tmp_path / "out.safetensors").exists()


@pytest.mark.parametrize("model", [DGCNN(4), DGCNNSegmenter(5, 3, k=4)])
def test_a_network_that_was_compared_without_memory_is_whole(tmp_path, model):
    save_model(model, tmp_path / "x.safetensors")
    loaded = load_model(tmp_path / "x.safetensors")
    assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in model.state_dict().items())
