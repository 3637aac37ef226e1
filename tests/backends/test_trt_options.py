"""What can be said after ``trt:``, what it means, and what is refused."""

from __future__ import annotations

import pytest

from edgehar.backends import BACKENDS, built_folder
from edgehar.backends._trt.options import BuildOptions, RunOptions, build_options, run_options, unusual
from edgehar.errors import InputError


@pytest.mark.parametrize("spec, built, run", [
    ("trt", {}, {}),
    ("trt:batch=1", {}, {}),
    ("trt:batch=8", {"batch": [8]}, {}),
    ("trt:batch=1+8+64", {"batch": [1, 8, 64]}, {}),
    ("trt:batch=1+8,contexts=2", {"batch": [1, 8], "contexts": 2}, {"contexts": 2}),
    ("trt:contexts=2", {}, {"contexts": 2}),  # a static engine serves any number
    ("trt:calibrator=minmax", {"calibrator": "minmax"}, {}),
    ("trt:dla=0", {"dla": 0}, {}),
    ("trt:workspace_mib=64,tactics=none", {"workspace_mib": 64, "tactics": ["none"]}, {}),
    ("trt:tactics=cublas+cudnn", {"tactics": ["cublas", "cudnn"]}, {}),
    ("trt:fp32=*Gemm*+/pool/*", {"fp32": ["*Gemm*", "/pool/*"]}, {}),
    ("trt:sync=spin,memory=mapped,graph=false", {}, {"sync": "spin", "memory": "mapped", "graph": False}),
    ("trt:sync=blocking,graph=true,caches=there", {}, {}),
])
def test_what_decides_the_build_is_apart_from_how_it_is_run(spec, built, run):
    backend = BACKENDS.create(spec)
    assert (backend.options, backend.running) == (built, run)


@pytest.mark.parametrize("spec, word", [
    ("batch=0", "rising order"), ("batch=8+1", "rising order"), ("batch=1+1", "rising order"), ("batch=a", "batch"),
    ("batch=1.5", "batch"), ("contexts=0", "contexts"), ("contexts=x", "contexts"), ("workspace_mib=0", "workspace"),
    ("calibrator=legacy", "entropy, minmax"), ("dla=-2", "dla"), ("dla=x", "dla"), ("dla=0,batch=1+8", "DLA"),
    ("dla=0,batch=5000", "4096"), ("tactics=magic", "jit_convolutions"), ("tactics=none+cudnn", "tactics"),
    ("sync=sleep", "spin, yield, blocking"), ("memory=managed", "copy, mapped"), ("graph=maybe", "true or false"),
    ("precision=fp16", "no option 'precision'"), ("sync", "has no value"),
])
def test_a_wrong_option_is_one_sentence(spec, word):
    with pytest.raises(InputError) as refused:
        BACKENDS.create("trt:" + spec)
    assert word in str(refused.value) and str(refused.value).endswith(".") and "\n" not in str(refused.value)


def test_stored_options_are_read_back_as_they_were():
    built = BuildOptions((1, 8), contexts=3, calibrator="qdq", workspace_mib=1, tactics=("cudnn",), fp32=("a", "b"))
    assert build_options(unusual(built)) == built
    run = RunOptions("spin", "mapped", False, 2)
    assert run_options(unusual(run)) == run


def test_each_choice_of_options_has_a_folder_of_its_own():
    places = {built_folder("a", "trt", "fp16", BACKENDS.create(spec).options)
              for spec in ("trt", "trt:batch=8", "trt:batch=1+8", "trt:sync=spin")}
    assert len(places) == 3
    assert built_folder("a", "trt", "fp16").name == "trt-fp16"
