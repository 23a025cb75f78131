import openvino
import torch

from srquant.deploy.openvino import CPU_OPTIONS, to_openvino
from srquant.models.edsr import EDSR, facts
from srquant.models.network import Network


def test_float_network_gives_the_same_picture():
    network = Network(EDSR(2, 16, 2), facts(2, 16, 2)).eval()
    compiled = openvino.compile_model(to_openvino(network), "CPU", CPU_OPTIONS)
    images = torch.rand(2, 3, 7, 9)
    with torch.no_grad():
        expected = network(images)
    torch.testing.assert_close(torch.from_numpy(compiled([images.numpy()])[0]), expected, rtol=0, atol=1e-5)
