"""`moesaic import`: an outside model becomes a MODEL that every other command takes."""

import argparse
import io

from moesaic.models.errors import InputError
from moesaic.reports.arguments import path
from moesaic.reports.files import check_directory


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("file", type=path, metavar="FILE", help="an ONNX or torch.export file")
    parser.add_argument("--out", type=path, required=True, metavar="DIR", help="the MODEL to make")
    parser.add_argument(
        "--calibrate",
        type=path,
        metavar="FILE.npy",
        help="images that scales are chosen by; made-up ones otherwise",
    )


def execute(options: argparse.Namespace) -> int:
    """Import, try to quantise, write the directory."""
    from moesaic.models.network_io import JSON_FILE, save_network

    check_directory(options.out, "--out", JSON_FILE)

    from dataclasses import replace

    import numpy as np

    from moesaic.models.image_file import read_images
    from moesaic.models.importer import import_model
    from moesaic.models.input_matrix import check_images, image_layer
    from moesaic.models.network import Linear
    from moesaic.models.quantise import quantise
    from moesaic.models.zoo import CALIBRATION_FILE, default_calibration

    network = import_model(options.file)
    if options.calibrate:
        try:
            images = check_images(network, read_images(options.calibrate))
        except InputError as error:
            named = str(options.calibrate) in str(error)
            raise InputError(str(error) if named else f"{options.calibrate}: {error}") from None
        source = f"{len(images)} images of {options.calibrate.name}"
    else:
        images = default_calibration(network)
        source = f"{len(images)} made-up images: accuracy will suffer, see --calibrate"
    try:
        graph = quantise(network, images)
    except InputError as error:
        raise InputError(f"{options.file}: {error}") from None

    labels = network.labels | {"calibration": "".join(c for c in source if c.isprintable())[:200]}
    content = io.BytesIO()
    np.save(content, images)
    files = {CALIBRATION_FILE: content.getvalue()}
    save_network(replace(network, labels=labels), options.out, files)

    layer = image_layer(network)
    weights = sum(x.weight.size for x in network.layers if isinstance(x, Linear))
    print(f"{network.name}: {len(network.layers)} layers, {weights:,} weights, {graph.macs:,} MACs")
    print(
        f"  input        {layer.channels} x {layer.height} x {layer.width}, patches {layer.patch}"
    )
    print(f"  calibration  {source}")
    print(f"written to {options.out}: moesaic run {options.out} --accel tiny")
    return 0
