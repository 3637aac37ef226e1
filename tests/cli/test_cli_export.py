"""The line that ``edgehar export`` prints last is one that works."""

from __future__ import annotations

import pytest

from edgehar.cli._exported import int8_option


@pytest.mark.parametrize("operators, option", [(["Conv", "Relu", "Gemm"], " --precision int8"),
                                               (["LSTM", "Gemm", "Add"], "")])
def test_int8_is_proposed_where_there_is_a_layer_for_it(operators, option):
    assert int8_option(operators) == option
