"""TensorRT: options, builder, calibration, session, and the seam to CUDA."""
