"""Plain edge-form networks, laid out and named as the official checkpoints are: the slow, independent references."""

import pytest
import torch
from torch import nn


def edges(x, k):
    """`[x_j − x_i, x_i]` of all edges: `(B, C, N)` to `(B, 2C, N, k)`, with neighbours by explicit differences."""
    points = x.transpose(1, 2)  # (B, N, C)
    distances = (points[:, :, None] - points[:, None]).square().sum(-1)  # (B, N, N)
    neighbours = distances.sort(dim=-1, stable=True).indices[..., :k]
    near = points[torch.arange(len(x)).view(-1, 1, 1), neighbours]  # (B, N, k, C)
    own = points[:, :, None].expand_as(near)
    return torch.cat([near - own, own], dim=-1).permute(0, 3, 1, 2)


def layer2d(inputs, outputs):
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs), nn.LeakyReLU(0.2))


def layer1d(inputs, outputs):
    return nn.Sequential(nn.Conv1d(inputs, outputs, 1, bias=False), nn.BatchNorm1d(outputs), nn.LeakyReLU(0.2))


class EdgeDGCNN(nn.Module):
    def __init__(self, k):
        super().__init__()
        self.k = k
        self.conv1, self.conv2 = layer2d(6, 64), layer2d(128, 64)
        self.conv3, self.conv4 = layer2d(128, 128), layer2d(256, 256)
        self.conv5 = layer1d(512, 1024)
        for i in range(1, 6):
            setattr(self, f"bn{i}", getattr(self, f"conv{i}")[1])
        self.inv_head = nn.Sequential(nn.Linear(2048, 1024), nn.BatchNorm1d(1024), nn.ReLU(), nn.Linear(1024, 256))

    def forward(self, points):
        x, layers = points.transpose(1, 2), []
        for conv in (self.conv1, self.conv2, self.conv3, self.conv4):
            x = conv(edges(x, self.k)).max(dim=-1)[0]
            layers.append(x)
        x = self.conv5(torch.cat(layers, dim=1))
        return torch.cat([x.max(dim=-1)[0], x.mean(dim=-1)], dim=1)


class EdgeTransform(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2, self.conv3 = layer2d(6, 64), layer2d(64, 128), layer1d(128, 1024)
        self.bn1, self.bn2, self.bn3 = self.conv1[1], self.conv2[1], nn.BatchNorm1d(512)
        self.linear1, self.linear2 = nn.Linear(1024, 512, bias=False), nn.Linear(512, 256, bias=False)
        self.bn4 = nn.BatchNorm1d(256)
        self.transform = nn.Linear(256, 9)

    def forward(self, graph):
        x = self.conv3(self.conv2(self.conv1(graph)).max(dim=-1)[0]).max(dim=-1)[0]
        x = nn.functional.leaky_relu(self.bn3(self.linear1(x)), 0.2)
        x = nn.functional.leaky_relu(self.bn4(self.linear2(x)), 0.2)
        return self.transform(x).view(-1, 3, 3)


class EdgePartseg(nn.Module):
    def __init__(self, k, parts=None, categories=16):
        super().__init__()
        self.k, self.parts = k, parts
        self.transform_net = EdgeTransform()
        self.conv1, self.conv2, self.conv3 = layer2d(6, 64), layer2d(64, 64), layer2d(128, 64)
        self.conv4, self.conv5, self.conv6 = layer2d(64, 64), layer2d(128, 64), layer1d(192, 1024)
        for i in range(1, 7):
            setattr(self, f"bn{i}", getattr(self, f"conv{i}")[1])
        self.inv_head = nn.Sequential(nn.Linear(1024, 1024), nn.BatchNorm1d(1024), nn.ReLU(), nn.Linear(1024, 256))
        if parts is not None:
            self.conv7, self.conv8 = layer1d(categories, 64), layer1d(1280, 256)
            self.conv9, self.conv10 = layer1d(256, 256), layer1d(256, 128)
            self.conv11 = nn.Conv1d(128, parts, 1, bias=False)

    def forward(self, points, category=None):
        x = points.transpose(1, 2)
        x = (points @ self.transform_net(edges(x, self.k))).transpose(1, 2)
        x1 = self.conv2(self.conv1(edges(x, self.k))).max(dim=-1)[0]
        x2 = self.conv4(self.conv3(edges(x1, self.k))).max(dim=-1)[0]
        x3 = self.conv5(edges(x2, self.k)).max(dim=-1)[0]
        local = torch.cat([x1, x2, x3], dim=1)
        cloud = self.conv6(local).max(dim=-1, keepdim=True)[0]
        if self.parts is None:
            return cloud.squeeze(-1)
        context = torch.cat([cloud, self.conv7(category.unsqueeze(-1))], dim=1)
        x = torch.cat([context.expand(-1, -1, points.shape[1]), local], dim=1)
        return self.conv11(self.conv10(self.conv9(self.conv8(x)))).transpose(1, 2)


def randomise(network, seed=0):
    """Give batch normalisations statistics and affine parameters of every sign, some γ exactly zero."""
    generator = torch.Generator().manual_seed(seed)
    done = set()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) and id(module) not in done:
            done.add(id(module))
            size = module.num_features
            with torch.no_grad():
                module.weight.copy_(torch.randn(size, generator=generator))
                module.weight[::7] = 0
                module.bias.copy_(torch.randn(size, generator=generator) * 0.2)
                module.running_mean.copy_(torch.randn(size, generator=generator) * 0.1)
                module.running_var.copy_(torch.rand(size, generator=generator) + 0.5)
    return network


@pytest.fixture
def reference():
    """Builds a randomised reference by its name, k and, for `dgcnn_partseg`, the numbers of parts and categories."""

    def build(name, k, *sizes):
        torch.manual_seed(0)
        network = EdgeDGCNN(k) if name == "dgcnn" else EdgePartseg(k, *sizes)
        if name != "dgcnn":
            nn.init.normal_(network.transform_net.transform.weight, std=0.02)
            with torch.no_grad():
                network.transform_net.transform.bias.copy_(torch.eye(3).flatten())
        return randomise(network)

    return build
