"""What tests of the TensorRT backend share."""

import pytest


@pytest.fixture(scope="session")
def graphs(tmp_path_factory):
    """{name: model} of every graph that edgehar writes for an engine; made once."""
    pytest.importorskip("torch")
    from tests.exports import exports

    return dict(exports(tmp_path_factory.mktemp("exports")))
