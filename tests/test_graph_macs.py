"""models.graph_macs against counts by hand."""

from moesaic.models.accel import NM
from moesaic.models.graph_macs import Macs, graph_macs, node_macs
from moesaic.models.quantise import quantise
from moesaic.models.sample_networks import sample_images, sample_network


def test_macs() -> None:
    network = sample_network("prenorm", nm=NM(n=2, m=8))
    graph = quantise(network, sample_images(network, 8))
    # 9 patches of 4 values, then 10 tokens of 12 channels; 2:8 of 12 rows executes 4 of 16.
    assert node_macs(graph, graph["patches"]) == Macs(dense=9 * 4 * 12, executed=9 * 4 * 12)
    assert node_macs(graph, graph["block0.q"]) == Macs(dense=10 * 12 * 12, executed=10 * 4 * 12)
    assert node_macs(graph, graph["block0.fc2"]) == Macs(dense=10 * 20 * 12, executed=10 * 6 * 12)
    attention = Macs(dense=3 * 10 * 10 * 4, executed=3 * 10 * 10 * 4)
    assert node_macs(graph, graph["block0.attn.scores"]) == attention
    assert node_macs(graph, graph["block0.attn"]) == attention
    assert node_macs(graph, graph["norm"]) == Macs()
    dense = 9 * 4 * 12 + 4 * 1440 + 2 * 1200 + 2 * 2400 + 12 * 5
    executed = 9 * 4 * 12 + 4 * 480 + 2 * 1200 + 10 * 4 * 20 + 10 * 6 * 12 + 12 * 5
    assert graph_macs(graph) == Macs(dense=dense, executed=executed)
    assert graph.macs == dense
