import numpy as np
import pytest
import torch

from crosspoint.errors import InputError
from crosspoint.export.deploy import deploy
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
    with pytest.raises(InputError, match="ImageEncoder is not exported"):
        deploy(ImageEncoder(18))
