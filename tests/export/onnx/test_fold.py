import numpy as np
import pytest
import torch

from crosspoint.core.errors import InputError
from crosspoint.export.onnx.fold import deploy
from crosspoint.models import ImageEncoder


def test_an_edge_term_is_the_normalised_product_for_gamma_of_every_sign(network):
    model = network("dgcnn")
    edge, norm = deploy(model).edges[1], model.edges[1].linear.norm
    assert (norm.weight < 0).any()
    assert (norm.weight == 0).any()
    rng = np.random.default_rng(0)
    own, other = rng.standard_normal((2, 64))
    product = torch.from_numpy(np.concatenate([other - own, own])) @ model.edges[1].linear.weight.double().T
    expected = torch.nn.functional.batch_norm(
        product[None],
        *(tensor.double() for tensor in (norm.running_mean, norm.running_var, norm.weight, norm.bias)),
        eps=norm.eps,
    )
    folded = other @ edge.near + own @ edge.own.weight + edge.own.bias
    np.testing.assert_allclose(folded, expected[0].detach().numpy(), rtol=0, atol=1e-5)


def test_a_layer_with_its_own_bias_keeps_it(network):
    model = network("dgcnn_seg")
    matrix = deploy(model).transform.matrix
    np.testing.assert_array_equal(matrix.bias, model.transform.transform.bias.detach().numpy())
    np.testing.assert_array_equal(matrix.weight, model.transform.transform.weight.detach().numpy().T)


def test_an_image_encoder_is_refused():
    with pytest.raises(InputError, match="ImageEncoder cannot be exported"):
        deploy(ImageEncoder(18))


def folded(linear, norm):
    """Weight and bias of a layer and its batch normalisation, in float64, not yet rounded."""
    state = {name: tensor.double().numpy() for name, tensor in norm.state_dict().items()}
    scale = state["weight"] / np.sqrt(state["running_var"] + norm.eps)
    weight = linear.detach().double().numpy()
    return scale[:, None] * weight, state["bias"] - scale * state["running_mean"]


def test_folds_are_taken_in_float64_and_rounded_once(network):
    """Not a bit may differ: taken in float32, every fold would be rounded three or four times."""
    model = network("dgcnn")
    weights = deploy(model)
    for edge, layer in zip(weights.edges, model.edges, strict=True):
        _, bias = folded(layer.linear.weight, layer.linear.norm)
        near, own = np.split(layer.linear.weight.detach().double().numpy(), 2, axis=1)
        norm = layer.linear.norm
        a = norm.weight.detach().double().numpy() / np.sqrt(norm.running_var.double().numpy() + norm.eps)
        np.testing.assert_array_equal(edge.near, (a[:, None] * near).T.astype(np.float32))
        np.testing.assert_array_equal(edge.own.weight, (a[:, None] * (own - near)).T.astype(np.float32))
        np.testing.assert_array_equal(edge.own.bias, bias.astype(np.float32))
    weight, bias = folded(model.embed.linear.weight, model.embed.norm)
    np.testing.assert_array_equal(weights.embed.weight, weight.T.astype(np.float32))
    np.testing.assert_array_equal(weights.embed.bias, bias.astype(np.float32))
    assert weights.embed.weight.dtype == weights.edges[0].near.dtype == np.float32
